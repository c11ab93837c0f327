// See schema_object.h. Names of further properties are automata: all strings, less those that have
// a schema of their own, so that no name can come under the wrong one.
#include "grammar/schema_object.h"

#include <algorithm>
#include <optional>

#include "grammar/json_text.h"
#include "grammar/schema_string.h"

namespace ferry::grammar {
namespace {

struct Pattern {
  Dfa names;  // that it matches, quotes included
  Schema schema;
};

class ObjectRules {
 public:
  ObjectRules(const Schema& schema, SubschemaCompiler& compiler)
      : schema_(schema), compiler_(compiler), rules_(compiler.rules()) {}

  Result<ExprRef> build() {
    FERRY_TRY_VOID(read_patterns());
    FERRY_TRY_VOID(read_names());
    FERRY_TRY_VOID(check_counts());
    std::vector<ExprRef> parts;
    std::vector<bool> required;
    for (const auto& [name, schema] : properties_) {
      const bool needed = is_required(name);
      const bool allowed = name_is_allowed(name);
      if (!allowed && needed) return choice({});
      if (!allowed) continue;
      FERRY_TRY(ExprRef value, compiler_.compile(schema));
      if (value->kind == Expr::Kind::kChoice && value->parts.empty() && !needed) continue;
      parts.push_back(sequence({bytes(Json(name).dump()), json_colon(), std::move(value)}));
      required.push_back(needed);
    }
    FERRY_TRY(ExprRef further, further_properties());
    FERRY_TRY(const ExprRef comma, json_comma(rules_));
    FERRY_TRY(const ExprRef space, json_space(rules_));
    return sequence({bytes("{"), space,
                     list(std::move(parts), std::move(required), comma, std::move(further)), space,
                     bytes("}")});
  }

 private:
  const Json* find(const char* key) const {
    return schema_.value.contains(key) ? &schema_.value[key] : nullptr;
  }

  bool is_required(const std::string& name) const {
    const Json* required = find("required");
    return required != nullptr &&
           std::find(required->begin(), required->end(), name) != required->end();
  }

  Status read_patterns() {
    if (const Json* names = find("propertyNames")) {
      FERRY_TRY(const Json checked, checked_schema({*names, schema_.path + "/propertyNames"}));
      for (const auto& [key, value] : checked.items()) {
        if (key == "type" && value == "string") continue;
        if (key == "pattern" || key == "minLength" || key == "maxLength" || key == "format")
          continue;
        return refuse_keyword(key, schema_.path + "/propertyNames",
                              "only pattern, minLength, maxLength and format are");
      }
      FERRY_TRY(allowed_names_,
                string_automaton({checked, schema_.path + "/propertyNames"}, rules_));
    }
    const Json* patterns = find("patternProperties");
    if (patterns == nullptr) return {};
    for (const auto& [pattern, value] : patterns->items()) {
      const std::string path = child_path(schema_.path + "/patternProperties", pattern);
      FERRY_TRY(Dfa names, pattern_automaton(pattern, path, rules_));
      for (const Pattern& other : patterns_) {
        FERRY_TRY(const Dfa common, intersect(names, other.names, rules_.budget()));
        if (common.is_empty()) continue;
        return refuse_keyword("patternProperties", schema_.path,
                              "two of its patterns can match the same name");
      }
      patterns_.push_back({std::move(names), {value, path}});
    }
    return {};
  }

  // All names that have a place of their own, in order.
  Status read_names() {
    if (const Json* properties = find("properties")) {
      for (const auto& [name, value] : properties->items()) {
        Schema schema{value, child_path(schema_.path + "/properties", name)};
        for (const Pattern& pattern : patterns_) {
          if (!pattern.names.matches(Json(name).dump())) continue;
          schema.value = Json{{"allOf", Json::array({value, pattern.schema.value})}};
        }
        properties_.emplace_back(name, std::move(schema));
      }
    }
    const Json* required = find("required");
    if (required == nullptr) return {};
    for (const Json& entry : *required) {
      const auto& name = entry.get_ref<const std::string&>();
      const bool known = std::any_of(properties_.begin(), properties_.end(),
                                     [&](const auto& property) { return property.first == name; });
      if (!known) properties_.emplace_back(name, schema_of_further(name));
      FERRY_TRY_VOID(rules_.budget().take_work(static_cast<int64_t>(properties_.size()) / 8));
    }
    return {};
  }

  Schema schema_of_further(const std::string& name) const {
    for (const Pattern& pattern : patterns_) {
      if (pattern.names.matches(Json(name).dump())) return pattern.schema;
    }
    return further_schema();
  }

  bool name_is_allowed(const std::string& name) const {
    return !allowed_names_ || allowed_names_->matches(Json(name).dump());
  }

  bool is_open() const {
    const Json* further = find("additionalProperties");
    if (further != nullptr) return *further != false;
    return find("properties") == nullptr && patterns_.empty();
  }

  Status check_counts() const {
    const int64_t min = count_of(schema_.value, "minProperties", 0);
    const int64_t max = count_of(schema_.value, "maxProperties", -1);
    int64_t num_required = 0;
    for (const auto& [name, schema] : properties_) num_required += is_required(name) ? 1 : 0;
    const bool endless = is_open() || !patterns_.empty();
    if (min > num_required) {
      return refuse_keyword("minProperties", schema_.path, "more than are required");
    }
    if (max >= 0 && (endless || max < std::ssize(properties_))) {
      return refuse_keyword("maxProperties", schema_.path, "fewer than there can be");
    }
    return {};
  }

  // One further property; nullptr: there are none.
  Result<ExprRef> further_properties() {
    std::vector<ExprRef> ways;
    std::vector<const Dfa*> taken;
    std::vector<ExprRef> names;
    for (const auto& [name, schema] : properties_) names.push_back(bytes(Json(name).dump()));
    FERRY_TRY(const Dfa own, to_dfa(choice(std::move(names)), rules_.budget()));
    for (const Pattern& pattern : patterns_) {
      FERRY_TRY(ExprRef way, property(pattern.names, {&own}, pattern.schema));
      ways.push_back(std::move(way));
      taken.push_back(&pattern.names);
    }
    if (is_open()) {
      taken.push_back(&own);
      FERRY_TRY(const Dfa any, string_automaton({Json::object(), schema_.path}, rules_));
      FERRY_TRY(ExprRef way, property(any, taken, further_schema()));
      ways.push_back(std::move(way));
    }
    return ways.empty() ? ExprRef() : choice(std::move(ways));
  }

  Schema further_schema() const {
    const Json* further = find("additionalProperties");
    return {further == nullptr ? Json(true) : *further, schema_.path + "/additionalProperties"};
  }

  Result<ExprRef> property(Dfa names, const std::vector<const Dfa*>& without,
                           const Schema& schema) {
    for (const Dfa* other : without) {
      FERRY_TRY(names, subtract(names, *other, rules_.budget()));
    }
    if (allowed_names_) {
      FERRY_TRY(names, intersect(names, *allowed_names_, rules_.budget()));
    }
    FERRY_TRY(ExprRef value, compiler_.compile(schema));
    return sequence({automaton(std::move(names)), json_colon(), std::move(value)});
  }

  const Schema& schema_;
  SubschemaCompiler& compiler_;
  RuleSet& rules_;
  std::vector<Pattern> patterns_;
  std::vector<std::pair<std::string, Schema>> properties_;
  std::optional<Dfa> allowed_names_;
};

}  // namespace

Result<ExprRef> object_of_schema(const Schema& schema, SubschemaCompiler& compiler) {
  return ObjectRules(schema, compiler).build();
}

}  // namespace ferry::grammar
