// See schema_tools.h.
#include "grammar/schema_tools.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/quote_name.h"
#include "grammar/schema_merge.h"

namespace ferry::grammar {
namespace {

constexpr int kMaxIndirections = 32;
constexpr size_t kMaxAlternatives = 256;

std::optional<std::string> unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      uint8_t byte = 0;
      if (i + 2 >= text.size()) return std::nullopt;
      const char* end = text.data() + i + 3;
      if (std::from_chars(text.data() + i + 1, end, byte, 16).ptr != end) return std::nullopt;
      out += static_cast<char>(byte);
      i += 2;
    } else if (text[i] == '~' && i + 1 < text.size() &&
               (text[i + 1] == '0' || text[i + 1] == '1')) {
      out += text[++i] == '0' ? '~' : '/';
    } else {
      out += text[i];
    }
  }
  return out;
}

// Whether no value is in both: by their types, or because one lists its values.
bool no_common_value(const Json& a, const Json& b) {
  const auto fits = [](const Json& value, const Json& schema) {
    if (schema.contains("enum")) {
      const Json& values = schema["enum"];
      return std::find(values.begin(), values.end(), value) != values.end();
    }
    if (!schema.contains("type")) return true;
    const std::vector<std::string> types = types_of(schema);
    return std::any_of(types.begin(), types.end(),
                       [&](const std::string& type) { return has_type(value, type); });
  };
  for (const auto& [listed, other] : {std::pair{&a, &b}, std::pair{&b, &a}}) {
    if (!listed->contains("enum")) continue;
    const Json& values = (*listed)["enum"];
    return std::none_of(values.begin(), values.end(),
                        [&, schema = other](const Json& value) { return fits(value, *schema); });
  }
  if (!a.contains("type") || !b.contains("type")) return false;
  for (const std::string& left : types_of(a)) {
    for (const std::string& right : types_of(b)) {
      const bool numbers =
          (left == "number" && right == "integer") || (left == "integer" && right == "number");
      if (left == right || numbers) return false;
    }
  }
  return true;
}

bool requires_property(const Json& schema, const std::string& name) {
  if (!schema.contains("required")) return false;
  const Json& required = schema["required"];
  return std::find(required.begin(), required.end(), name) != required.end();
}

void require_property(Json& schema, const std::string& name) {
  if (requires_property(schema, name)) return;
  if (!schema.contains("required")) schema["required"] = Json::array();
  schema["required"].push_back(name);
}

bool only_objects(const Json& schema) {
  const std::vector<std::string> types = types_of(schema);
  return !schema.contains("enum") && types.size() == 1 && types[0] == "object";
}

// A property that `a` always writes and `b` never allows.
bool writes_what_is_closed(const Json& a, const Json& b) {
  const bool closed =
      b.value("additionalProperties", Json()) == false && !b.contains("patternProperties");
  if (!closed || !a.contains("required")) return false;
  const Json none = Json::object();
  const Json& known = b.contains("properties") ? b["properties"] : none;
  return std::any_of(a["required"].begin(), a["required"].end(), [&](const Json& name) {
    return !known.contains(name.get_ref<const std::string&>());
  });
}

}  // namespace

Result<Schema> SchemaDocument::resolve(const Schema& from) const {
  const std::string& reference = from.value["$ref"].get_ref<const std::string&>();
  if (reference.empty() || reference[0] != '#' || (reference.size() > 1 && reference[1] != '/')) {
    return refuse_keyword("$ref", from.path,
                          quote_name(reference) + " is not a path in this schema (#/…)");
  }
  const Json* at = &root_;
  for (size_t begin = 1; begin < reference.size();) {
    const size_t end = std::min(reference.find('/', begin + 1), reference.size());
    const auto key = unescape(std::string_view(reference).substr(begin + 1, end - begin - 1));
    begin = end;
    const Json* next = nullptr;
    if (key && at->is_object() && at->contains(*key)) next = &(*at)[*key];
    if (key && at->is_array() && !key->empty() && key->size() < 9 &&
        key->find_first_not_of("0123456789") == std::string::npos) {
      const size_t index = std::stoul(*key);
      if (index < at->size()) next = &(*at)[index];
    }
    if (next == nullptr) {
      return invalid_input("\"$ref\" at {}: there is no {}", from.path, one_line(reference));
    }
    at = next;
  }
  return Schema{*at, one_line(reference)};
}

Result<std::vector<Schema>> SchemaDocument::product(const std::vector<Schema>& left,
                                                    const std::vector<Schema>& right) const {
  std::vector<Schema> out;
  for (const Schema& a : left) {
    for (const Schema& b : right) {
      FERRY_TRY_VOID(budget_.take_work(500));
      FERRY_TRY(std::optional<Json> merged, merge_schemas(a.value, b.value, a.path));
      if (merged) out.push_back({std::move(*merged), a.path});
      if (out.size() > kMaxAlternatives) {
        return invalid_input("schema at {}: combines to more than {} alternatives", a.path,
                             kMaxAlternatives);
      }
    }
  }
  return out;
}

Result<std::vector<Schema>> SchemaDocument::branches(const Schema& schema, const char* keyword,
                                                     int depth) const {
  std::vector<Schema> parts;
  std::vector<size_t> branch_of;
  const Json& list = schema.value[keyword];
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string path = child_path(child_path(schema.path, keyword), std::to_string(i));
    FERRY_TRY(std::vector<Schema> branch, alternatives({list[i], path}, depth + 1));
    branch_of.insert(branch_of.end(), branch.size(), i);
    parts.insert(parts.end(), branch.begin(), branch.end());
    if (parts.size() > kMaxAlternatives) {
      return invalid_input("\"{}\" at {}: more than {} alternatives", keyword, schema.path,
                           kMaxAlternatives);
    }
  }
  if (std::string_view(keyword) == "oneOf") {
    FERRY_TRY_VOID(make_disjoint(parts, branch_of, schema.path));
  }
  return parts;
}

// Exactly one branch may hold. Where two are told apart by a property with different values, that
// property is made required in both.
Status SchemaDocument::make_disjoint(std::vector<Schema>& parts,
                                     const std::vector<size_t>& branch_of,
                                     const std::string& path) const {
  const auto told_apart = [&](Json& a, Json& b) -> Result<bool> {
    if (no_common_value(a, b)) return true;
    if (!only_objects(a) || !only_objects(b)) return false;
    if (a.contains("properties") && b.contains("properties")) {
      for (const auto& [name, left] : a["properties"].items()) {
        if (!b["properties"].contains(name)) continue;
        FERRY_TRY_VOID(budget_.take_work(50));
        FERRY_TRY(const auto of_a, alternatives({left, path}, 1));
        FERRY_TRY(const auto of_b, alternatives({b["properties"][name], path}, 1));
        const bool disjoint = std::all_of(of_a.begin(), of_a.end(), [&](const Schema& x) {
          return std::all_of(of_b.begin(), of_b.end(),
                             [&](const Schema& y) { return no_common_value(x.value, y.value); });
        });
        if (!disjoint) continue;
        const std::string property = name;
        require_property(a, property);
        require_property(b, property);
        return true;
      }
    }
    return writes_what_is_closed(a, b) || writes_what_is_closed(b, a);
  };
  for (size_t i = 0; i < parts.size(); ++i) {
    for (size_t j = i + 1; j < parts.size(); ++j) {
      if (branch_of[i] == branch_of[j]) continue;
      FERRY_TRY_VOID(budget_.take_work(100));
      FERRY_TRY(const bool apart, told_apart(parts[i].value, parts[j].value));
      if (apart) continue;
      return refuse_keyword("oneOf", path,
                            fmt::format("its branches {} and {} could hold together; use anyOf, or "
                                        "a property whose values tell them apart",
                                        branch_of[i], branch_of[j]));
    }
  }
  return {};
}

Result<std::vector<Schema>> SchemaDocument::alternatives(const Schema& schema, int depth) const {
  if (schema.value == false) return std::vector<Schema>();
  FERRY_TRY_VOID(budget_.take_work(200 + static_cast<int64_t>(schema.value.dump().size())));
  if (depth > kMaxIndirections) {
    return invalid_input("schema at {}: refers to itself without anything in between", schema.path);
  }
  FERRY_TRY(Json checked, checked_schema(schema));
  const Schema whole{checked, schema.path};
  for (const char* key : {"$ref", "allOf", "anyOf", "oneOf"}) checked.erase(key);
  std::vector<Schema> out{{std::move(checked), schema.path}};
  if (whole.value.contains("$ref")) {
    FERRY_TRY(const Schema target, resolve(whole));
    FERRY_TRY(const std::vector<Schema> parts, alternatives(target, depth + 1));
    FERRY_TRY(out, product(out, parts));
  }
  if (whole.value.contains("allOf")) {
    const Json& list = whole.value["allOf"];
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string path = child_path(schema.path + "/allOf", std::to_string(i));
      FERRY_TRY(const std::vector<Schema> parts, alternatives({list[i], path}, depth + 1));
      FERRY_TRY(out, product(out, parts));
    }
  }
  for (const char* key : {"anyOf", "oneOf"}) {
    if (!whole.value.contains(key)) continue;
    FERRY_TRY(const std::vector<Schema> parts, branches(whole, key, depth));
    FERRY_TRY(out, product(out, parts));
  }
  return out;
}

}  // namespace ferry::grammar
