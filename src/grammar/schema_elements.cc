// See schema_elements.h. What a value may be is a rule for each property; its name is in front of
// the rule, so that properties are told apart before one is entered.
#include "grammar/schema_elements.h"

#include <algorithm>
#include <utility>

#include "grammar/free_text.h"
#include "grammar/json_schema.h"
#include "grammar/json_text.h"
#include "grammar/schema_object.h"
#include "grammar/schema_string.h"

namespace ferry::grammar {
namespace {

constexpr int64_t kMaxFurtherName = 64;

bool can_be_written(std::string_view name) {
  return !name.empty() && std::none_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '<' || c == '>';
  });
}

// As the parser of untyped elements sees it: by what the schema itself says.
bool reads_as_text(const Json& schema) {
  if (!schema.is_object()) return true;
  if (schema.contains("type")) return schema["type"] == "string";
  if (!schema.contains("enum")) return schema.empty();
  const Json& values = schema["enum"];
  return values.is_array() && std::all_of(values.begin(), values.end(),
                                          [](const Json& value) { return value.is_string(); });
}

// Names of properties that nobody has listed.
Result<Dfa> further_names(const std::vector<std::string>& without, Budget& budget) {
  CharSet letters = unite(word_chars(), make_set({{'-', '-'}, {'.', '.'}}));
  FERRY_TRY(Dfa names, to_dfa(repeat(chars(std::move(letters)), 1, kMaxFurtherName), budget));
  std::vector<ExprRef> known;
  for (const std::string& name : without) known.push_back(bytes(name));
  FERRY_TRY(const Dfa taken, to_dfa(choice(std::move(known)), budget));
  return subtract(names, taken, budget);
}

class ElementRules {
 public:
  ElementRules(RuleSet& rules, const Json& root, const ElementSpelling& spelling,
               const Vocabulary& vocabulary)
      : rules_(rules),
        document_(root, rules.budget()),
        values_(make_schema_compiler(rules, root)),
        spelling_(spelling),
        vocabulary_(vocabulary) {}

  Result<ExprRef> build(const Schema& schema) {
    FERRY_TRY(const std::vector<Schema> parts, document_.alternatives(schema));
    std::vector<ExprRef> ways;
    for (const Schema& part : parts) {
      const std::vector<std::string> types = types_of(part.value);
      if (std::find(types.begin(), types.end(), "object") == types.end()) continue;
      FERRY_TRY(ways.emplace_back(), object(part));
    }
    if (ways.empty()) {
      return invalid_input("schema at {}: arguments are an object, which it forbids", schema.path);
    }
    return choice(std::move(ways));
  }

 private:
  Result<ExprRef> object(const Schema& schema) {
    for (const char* keyword :
         {"patternProperties", "propertyNames", "minProperties", "maxProperties", "enum"}) {
      if (!schema.value.contains(keyword)) continue;
      return refuse_keyword(keyword, schema.path, "not where arguments are elements");
    }
    const Json none = Json::object();
    const Json& properties =
        schema.value.contains("properties") ? schema.value["properties"] : none;
    const Json required = schema.value.value("required", Json::array());
    const Json further =
        schema.value.value("additionalProperties", Json(!schema.value.contains("properties")));
    std::vector<std::pair<std::string, Schema>> all;
    std::vector<std::string> names;
    for (const auto& [name, value] : properties.items()) {
      all.emplace_back(name, Schema{value, child_path(schema.path + "/properties", name)});
    }
    for (const Json& entry : required) {
      const std::string name = entry.get<std::string>();
      if (properties.contains(name)) continue;
      all.emplace_back(name, Schema{further, schema.path + "/additionalProperties"});
    }
    std::vector<ExprRef> parts;
    std::vector<bool> needed;
    for (const auto& [name, value] : all) {
      if (!can_be_written(name)) {
        return refuse_keyword("properties", schema.path, "a name has characters no element holds");
      }
      FERRY_TRY(ExprRef part, element(spelled(name, vocabulary_), value));
      parts.push_back(std::move(part));
      needed.push_back(std::find(required.begin(), required.end(), name) != required.end());
      names.push_back(name);
    }
    ExprRef rest;
    if (further != false) {
      FERRY_TRY(Dfa others, further_names(names, rules_.budget()));
      FERRY_TRY(rest, element(automaton(std::move(others)),
                              {further, schema.path + "/additionalProperties"}));
    }
    return choice({list(std::move(parts), std::move(needed), bytes(""), std::move(rest)),
                   required.empty() ? bytes(spelling_.none) : choice({})});
  }

  Result<ExprRef> element(ExprRef name, const Schema& schema) {
    const int32_t rule = rules_.reserve("argument at " + schema.path);
    FERRY_TRY(const ExprRef value, value_of(schema));
    FERRY_TRY_VOID(rules_.define(rule, value));
    return sequence({spelled(spelling_.begin, vocabulary_), std::move(name), call(rule)});
  }

  // From behind the name to behind the element.
  Result<ExprRef> value_of(const Schema& schema) {
    if (!spelling_.typed && !reads_as_text(schema.value)) {
      FERRY_TRY(ExprRef value, values_->compile(schema));
      return json_way(std::move(value));
    }
    FERRY_TRY(const std::vector<Schema> parts, document_.alternatives(schema));
    std::vector<ExprRef> ways;
    for (const Schema& part : parts) {
      FERRY_TRY_VOID(add_ways(part, ways));
    }
    return choice(std::move(ways));
  }

  Status add_ways(const Schema& part, std::vector<ExprRef>& ways) {
    std::vector<std::string> types = types_of(part.value);
    const auto text_type = std::find(types.begin(), types.end(), "string");
    const bool has_text = text_type != types.end();
    if (has_text) types.erase(text_type);
    Json others = part.value;
    if (part.value.contains("enum")) {
      others["enum"] = Json::array();
      for (const Json& value : part.value["enum"]) {
        if (!value.is_string()) {
          others["enum"].push_back(value);
        } else if (has_text) {
          FERRY_TRY_VOID(add_literal(value.get<std::string>(), part.path, ways));
        }
      }
      if (others["enum"].empty()) return {};
    } else if (has_text) {
      FERRY_TRY_VOID(add_text(part, ways));
    }
    if (types.empty() || !spelling_.typed) return {};
    others["type"] = types;
    FERRY_TRY(ExprRef value, values_->compile({others, part.path}));
    ways.push_back(json_way(std::move(value)));
    return {};
  }

  Status add_literal(const std::string& text, const std::string& path, std::vector<ExprRef>& ways) {
    if (text.find(spelling_.end) != std::string::npos) {
      return refuse_keyword("enum", path, "a text in it has the mark that ends an element");
    }
    ways.push_back(text_way(bytes(text)));
    return {};
  }

  Status add_text(const Schema& schema, std::vector<ExprRef>& ways) {
    FERRY_TRY(std::optional<Dfa> texts, plain_text_automaton(schema, rules_));
    if (!texts.has_value()) {
      ways.push_back(
          sequence({spelled(spelling_.text, vocabulary_),
                    free_text_until({spelling_.end}, vocabulary_), bytes(spelling_.behind)}));
      return {};
    }
    const ExprRef any = repeat(chars(all_chars()), 0, -1);
    FERRY_TRY(const Dfa with_end,
              to_dfa(sequence({any, bytes(spelling_.end), any}), rules_.budget()));
    FERRY_TRY(Dfa without, subtract(*texts, with_end, rules_.budget()));
    ways.push_back(text_way(automaton(std::move(without))));
    return {};
  }

  ExprRef text_way(ExprRef text) const { return way(spelling_.text, std::move(text)); }
  ExprRef json_way(ExprRef value) const { return way(spelling_.json, std::move(value)); }
  ExprRef way(const std::string& before, ExprRef value) const {
    return sequence({spelled(before, vocabulary_), std::move(value), bytes(spelling_.value_end),
                     spelled(spelling_.end, vocabulary_), bytes(spelling_.behind)});
  }

  RuleSet& rules_;
  SchemaDocument document_;
  std::unique_ptr<SubschemaCompiler> values_;
  const ElementSpelling& spelling_;
  const Vocabulary& vocabulary_;
};

}  // namespace

Result<ExprRef> add_schema_elements(RuleSet& rules, const Json& schema,
                                    const ElementSpelling& spelling, const Vocabulary& vocabulary) {
  return ElementRules(rules, schema, spelling, vocabulary).build({schema, "#"});
}

Result<ExprRef> add_any_elements(RuleSet& rules, const ElementSpelling& spelling,
                                 const Vocabulary& vocabulary) {
  const Json any = {{"type", "object"}};
  return ElementRules(rules, any, spelling, vocabulary).build({any, "#"});
}

}  // namespace ferry::grammar
