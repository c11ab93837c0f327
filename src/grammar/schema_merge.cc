// See schema_merge.h. Subschemas that meet (the same property on both sides) are joined by an
// allOf, which is worked out when their turn comes.
#include "grammar/schema_merge.h"

#include <algorithm>
#include <cmath>

namespace ferry::grammar {
namespace {

std::vector<std::string> names_of(const Json& type) {
  if (type.is_string()) return {type.get<std::string>()};
  return type.get<std::vector<std::string>>();
}

// Types that both allow; an integer is a number.
Json common_types(const Json& a, const Json& b) {
  Json out = Json::array();
  const std::vector<std::string> left = names_of(a);
  const std::vector<std::string> right = names_of(b);
  const auto has = [](const std::vector<std::string>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const std::string& name : left) {
    if (has(right, name) || (name == "integer" && has(right, "number"))) {
      out.push_back(name);
    } else if (name == "number" && has(right, "integer") && !has(left, "integer")) {
      out.push_back("integer");
    }
  }
  return out;
}

Json both(const Json& a, const Json& b) {
  if (a == b || b == true) return a;
  if (a == true) return b;
  return Json{{"allOf", Json::array({a, b})}};
}

// What a side says about a property, if anything.
const Json* side_of(const Json& schema, const std::string& name) {
  if (schema.contains("properties") && schema["properties"].contains(name)) {
    return &schema["properties"][name];
  }
  return schema.contains("additionalProperties") ? &schema["additionalProperties"] : nullptr;
}

Status merge_properties(const Json& a, const Json& b, Json& out, const std::string& path) {
  const bool patterns = a.contains("patternProperties") || b.contains("patternProperties");
  const auto about_names = [](const Json& schema) {
    return schema.contains("properties") || schema.contains("additionalProperties") ||
           schema.contains("patternProperties");
  };
  if (patterns && about_names(a) && about_names(b)) {
    return refuse_keyword("patternProperties", path, "it is joined with other properties");
  }
  Json properties = Json::object();
  for (const Json* side : {&a, &b}) {
    if (!side->contains("properties")) continue;
    for (const auto& [name, schema] : (*side)["properties"].items()) {
      if (properties.contains(name)) continue;
      const Json* left = side_of(a, name);
      const Json* right = side_of(b, name);
      properties[name] =
          both(left == nullptr ? Json(true) : *left, right == nullptr ? Json(true) : *right);
    }
  }
  if (a.contains("properties") || b.contains("properties")) out["properties"] = properties;
  return {};
}

void merge_lists(const Json& a, const Json& b, Json& out, const char* key) {
  if (!a.contains(key) || !b.contains(key)) return;
  Json joined = a[key];
  for (const Json& item : b[key]) {
    if (std::find(joined.begin(), joined.end(), item) == joined.end()) joined.push_back(item);
  }
  out[key] = std::move(joined);
}

// Patterns that must all match.
void merge_patterns(const Json& a, const Json& b, Json& out) {
  Json all = Json::array();
  for (const Json* side : {&a, &b}) {
    if (side->contains("pattern")) all.push_back((*side)["pattern"]);
    if (!side->contains("patterns")) continue;
    for (const Json& pattern : (*side)["patterns"]) all.push_back(pattern);
  }
  if (all.size() < 2) return;
  out.erase("pattern");
  out["patterns"] = std::move(all);
}

Status merge_items(const Json& a, const Json& b, Json& out, const std::string& path) {
  const bool prefix = a.contains("prefixItems") || b.contains("prefixItems");
  const auto about_items = [](const Json& schema) {
    return schema.contains("items") || schema.contains("prefixItems");
  };
  if (prefix && about_items(a) && about_items(b)) {
    return refuse_keyword("prefixItems", path, "it is joined with other items");
  }
  if (a.contains("items") && b.contains("items")) out["items"] = both(a["items"], b["items"]);
  return {};
}

}  // namespace

bool has_type(const Json& value, std::string_view type) {
  switch (value.type()) {
    case Json::value_t::null: return type == "null";
    case Json::value_t::boolean: return type == "boolean";
    case Json::value_t::string: return type == "string";
    case Json::value_t::array: return type == "array";
    case Json::value_t::object: return type == "object";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned: return type == "integer" || type == "number";
    case Json::value_t::number_float:
      return type == "number" || (type == "integer" && value == std::floor(value.get<double>()));
    default: return false;
  }
}

Result<std::optional<Json>> merge_schemas(const Json& a, const Json& b, const std::string& path) {
  Json out = a;
  for (const auto& [key, value] : b.items()) {
    if (!a.contains(key)) out[key] = value;
  }
  const auto in_both = [&](const char* key) { return a.contains(key) && b.contains(key); };
  if (in_both("type")) {
    out["type"] = common_types(a["type"], b["type"]);
    if (out["type"].empty()) return std::optional<Json>();
  }
  if (in_both("enum")) {
    Json common = Json::array();
    for (const Json& value : a["enum"]) {
      const Json& others = b["enum"];
      if (std::find(others.begin(), others.end(), value) != others.end()) common.push_back(value);
    }
    if (common.empty()) return std::optional<Json>();
    out["enum"] = std::move(common);
  }
  for (const char* key :
       {"minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum"}) {
    if (in_both(key)) out[key] = std::max(a[key], b[key]);
  }
  for (const char* key :
       {"maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum"}) {
    if (in_both(key)) out[key] = std::min(a[key], b[key]);
  }
  if (in_both("format") && a["format"] != b["format"]) {
    return refuse_keyword("format", path, "two different ones are joined");
  }
  FERRY_TRY_VOID(merge_properties(a, b, out, path));
  FERRY_TRY_VOID(merge_items(a, b, out, path));
  for (const char* key : {"additionalProperties", "propertyNames"}) {
    if (in_both(key)) out[key] = both(a[key], b[key]);
  }
  merge_lists(a, b, out, "required");
  merge_patterns(a, b, out);
  return std::optional<Json>(std::move(out));
}

}  // namespace ferry::grammar
