// Which keywords of JSON Schema are honoured, ignored or refused, and what their values must be.
// The other half of schema_tools.h.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/quote_name.h"
#include "grammar/schema_tools.h"

namespace ferry::grammar {
namespace {

using Names = std::initializer_list<std::string_view>;

bool is_in(std::string_view name, Names names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Say nothing about the value.
bool is_annotation(std::string_view key) {
  return key.substr(0, 2) == "x-" || is_in(key, {"title",
                                                 "description",
                                                 "default",
                                                 "examples",
                                                 "example",
                                                 "deprecated",
                                                 "readOnly",
                                                 "writeOnly",
                                                 "$comment",
                                                 "$schema",
                                                 "$id",
                                                 "$anchor",
                                                 "$vocabulary",
                                                 "$defs",
                                                 "definitions",
                                                 "discriminator",
                                                 "nullable",
                                                 "strict",
                                                 "externalDocs",
                                                 "contentEncoding",
                                                 "contentMediaType",
                                                 "contentSchema",
                                                 "markdownDescription",
                                                 "enumNames",
                                                 "enumDescriptions",
                                                 "errorMessage",
                                                 "propertyOrdering",
                                                 "xml"});
}

// What a keyword's value must be.
enum class Shape { kSchema, kSchemas, kNamedSchemas, kCount, kNumber, kText, kTexts, kType, kAny };

struct Keyword {
  std::string_view name;
  Shape shape;
};

constexpr auto kKeywords = std::to_array<Keyword>({
    {"type", Shape::kType},
    {"enum", Shape::kAny},
    {"const", Shape::kAny},
    {"$ref", Shape::kText},
    {"allOf", Shape::kSchemas},
    {"anyOf", Shape::kSchemas},
    {"oneOf", Shape::kSchemas},
    {"properties", Shape::kNamedSchemas},
    {"patternProperties", Shape::kNamedSchemas},
    {"additionalProperties", Shape::kSchema},
    {"propertyNames", Shape::kSchema},
    {"required", Shape::kTexts},
    {"minProperties", Shape::kCount},
    {"maxProperties", Shape::kCount},
    {"items", Shape::kSchema},
    {"prefixItems", Shape::kSchemas},
    {"minItems", Shape::kCount},
    {"maxItems", Shape::kCount},
    {"minLength", Shape::kCount},
    {"maxLength", Shape::kCount},
    {"pattern", Shape::kText},
    {"patterns", Shape::kTexts},  // made by merging: all of them hold
    {"format", Shape::kText},
    {"minimum", Shape::kNumber},
    {"maximum", Shape::kNumber},
    {"exclusiveMinimum", Shape::kNumber},
    {"exclusiveMaximum", Shape::kNumber},
});

bool is_schema(const Json& value) { return value.is_object() || value.is_boolean(); }

bool is_type_name(const Json& value) {
  return value.is_string() &&
         is_in(value.get_ref<const std::string&>(),
               {"null", "boolean", "integer", "number", "string", "array", "object"});
}

// What was expected; empty: all right.
std::string_view wrong_shape(Shape shape, const Json& value) {
  const auto all = [&](auto test) { return std::all_of(value.begin(), value.end(), test); };
  switch (shape) {
    case Shape::kSchema: return is_schema(value) ? "" : "a schema";
    case Shape::kSchemas:
      return value.is_array() && !value.empty() && all(is_schema) ? "" : "an array of schemas";
    case Shape::kNamedSchemas:
      return value.is_object() && all(is_schema) ? "" : "an object of schemas";
    case Shape::kCount:
      if (value.is_number_float() && value == std::floor(value.get<double>())) return "";
      return value.is_number_integer() && value >= 0 ? "" : "a count";
    case Shape::kNumber: return value.is_number() ? "" : "a number";
    case Shape::kText: return value.is_string() ? "" : "a string";
    case Shape::kTexts:
      return value.is_array() && all([](const Json& item) { return item.is_string(); })
                 ? ""
                 : "an array of strings";
    case Shape::kType:
      return is_type_name(value) || (value.is_array() && !value.empty() && all(is_type_name))
                 ? ""
                 : "a type or an array of types";
    case Shape::kAny: return "";
  }
  return "";
}

// Keywords that can't be promised unless they say nothing. Empty: this one says nothing.
std::string_view reason_to_refuse(std::string_view key, const Json& value) {
  if (key == "uniqueItems" && value == false) return "";
  if (key == "unevaluatedProperties" && value == true) return "";
  if (key == "unevaluatedItems" && value == true) return "";
  if (key == "multipleOf") return "only a multipleOf of 1 for integers is";
  if (is_in(key, {"not", "if", "then", "else", "dependentRequired", "dependentSchemas",
                  "dependencies", "uniqueItems", "contains", "minContains", "maxContains",
                  "unevaluatedProperties", "unevaluatedItems", "additionalItems", "$dynamicRef",
                  "$dynamicAnchor", "$recursiveRef"})) {
    return "no automaton can keep it";
  }
  return "it is not a keyword of JSON Schema";
}

Status check_enum(const Json& value, const std::string& path) {
  if (!value.is_array() || value.empty()) {
    return invalid_input("\"enum\" at {}: expected an array with values, found {}", path,
                         json_type_name(value));
  }
  return {};
}

}  // namespace

std::string child_path(const std::string& path, std::string_view key) {
  std::string out = path + "/";
  for (char c : one_line(key)) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

Error refuse_keyword(std::string_view keyword, const std::string& path, std::string_view why) {
  return unsupported("{} at {} is not supported: {}", quote_name(keyword), path, why);
}

Result<Json> checked_schema(const Schema& schema) {
  if (schema.value == true) return Json(Json::object());
  if (!schema.value.is_object()) {
    return invalid_input("schema at {}: expected an object or a boolean, found {}", schema.path,
                         json_type_name(schema.value));
  }
  Json out = Json::object();
  for (const auto& [key, value] : schema.value.items()) {
    if (is_annotation(key)) continue;
    const auto known = std::find_if(kKeywords.begin(), kKeywords.end(),
                                    [&name = key](const Keyword& k) { return k.name == name; });
    if (known == kKeywords.end()) {
      const bool whole = schema.value.value("type", Json()) == "integer";
      if (key == "multipleOf" && value == 1 && whole) continue;
      const std::string_view why = reason_to_refuse(key, value);
      if (!why.empty()) return refuse_keyword(key, schema.path, why);
      continue;
    }
    if (key == "items" && value.is_array()) {
      return refuse_keyword("items", schema.path, "an array of items is written prefixItems now");
    }
    const std::string_view expected = wrong_shape(known->shape, value);
    if (!expected.empty()) {
      return invalid_input("\"{}\" at {}: expected {}, found {}", key, schema.path, expected,
                           json_type_name(value));
    }
    if (key == "enum") FERRY_TRY_VOID(check_enum(value, schema.path));
    if (key == "const" && schema.value.contains("enum")) {
      const Json& values = schema.value["enum"];
      const bool allowed = std::find(values.begin(), values.end(), value) != values.end();
      out["enum"] = allowed ? Json::array({value}) : Json::array();
    } else if (key == "const") {
      out["enum"] = Json::array({value});
    } else if (key != "enum" || !schema.value.contains("const")) {
      out[key] = value;
    }
  }
  return out;
}

std::vector<std::string> types_of(const Json& schema) {
  std::vector<std::string> types;
  if (schema.contains("type")) {
    const Json& type = schema["type"];
    if (type.is_string()) return {type.get<std::string>()};
    for (const Json& item : type) types.push_back(item.get<std::string>());
    return types;
  }
  const auto has = [&](Names names) {
    return std::any_of(names.begin(), names.end(),
                       [&](std::string_view name) { return schema.contains(std::string(name)); });
  };
  if (has({"properties", "patternProperties", "additionalProperties", "propertyNames", "required",
           "minProperties", "maxProperties"})) {
    types.emplace_back("object");
  }
  if (has({"items", "prefixItems", "minItems", "maxItems"})) types.emplace_back("array");
  if (has({"minLength", "maxLength", "pattern", "patterns", "format"})) {
    types.emplace_back("string");
  }
  if (has({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})) {
    types.emplace_back("number");
  }
  if (!types.empty()) return types;
  return {"object", "array", "string", "number", "boolean", "null"};
}

}  // namespace ferry::grammar
