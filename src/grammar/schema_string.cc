// See schema_string.h.
#include "grammar/schema_string.h"

#include <optional>

#include "base/quote_name.h"
#include "grammar/json_format.h"
#include "grammar/json_text.h"
#include "grammar/regex.h"

namespace ferry::grammar {
namespace {

enum class Writing { kJson, kPlain };  // in quotes and with escapes, or as it is

ExprRef written(ExprRef inside, Writing writing) {
  if (writing == Writing::kPlain) return inside;
  return sequence({bytes("\""), std::move(inside), bytes("\"")});
}

ExprRef plain_char(const CharSet& set) { return chars(set); }

Result<Dfa> regex_automaton(std::string_view regex, RegexMatch match, const std::string& where,
                            Writing writing, RuleSet& rules) {
  Result<ExprRef> expr =
      parse_regex(regex, match, writing == Writing::kJson ? json_char : plain_char);
  if (!expr.ok()) return expr.error().in(where);
  return to_dfa(written(*expr, writing), rules.budget());
}

Result<Dfa> automaton_of_pattern(std::string_view pattern, const std::string& path, Writing writing,
                                 RuleSet& rules) {
  return regex_automaton(pattern, RegexMatch::kSearch, "\"pattern\" at " + path, writing, rules);
}

std::vector<std::string> patterns_of(const Json& schema) {
  std::vector<std::string> patterns;
  if (schema.contains("pattern")) patterns.push_back(schema["pattern"].get<std::string>());
  if (schema.contains("patterns")) {
    for (const Json& pattern : schema["patterns"]) patterns.push_back(pattern.get<std::string>());
  }
  return patterns;
}

// What pattern and format allow; nullopt: anything.
Result<std::optional<Dfa>> contents(const Schema& schema, Writing writing, RuleSet& rules) {
  std::optional<Dfa> all;
  const auto add = [&](Dfa dfa) -> Status {
    if (all.has_value()) {
      FERRY_TRY(dfa, intersect(*all, dfa, rules.budget()));
    }
    all = std::move(dfa);
    return {};
  };
  for (const std::string& pattern : patterns_of(schema.value)) {
    FERRY_TRY(Dfa dfa, automaton_of_pattern(pattern, schema.path, writing, rules));
    FERRY_TRY_VOID(add(std::move(dfa)));
  }
  const Json format = schema.value.value("format", Json());
  if (!format.is_string()) return all;
  const auto& name = format.get_ref<const std::string&>();
  if (is_storage_format(name)) return all;
  const std::optional<std::string_view> regex = format_regex(name);
  if (!regex) {
    return refuse_keyword("format", schema.path, quote_name(name) + " can't be promised");
  }
  FERRY_TRY(Dfa dfa, regex_automaton(*regex, RegexMatch::kWhole, schema.path, writing, rules));
  FERRY_TRY_VOID(add(std::move(dfa)));
  return all;
}

// The length is not a matter of spelling, so `character` may have several.
ExprRef of_length(const Json& schema, ExprRef character, Writing writing = Writing::kJson) {
  return written(repeat(std::move(character), count_of(schema, "minLength", 0),
                        count_of(schema, "maxLength", -1)),
                 writing);
}

bool has_length(const Json& schema) {
  return schema.contains("minLength") || schema.contains("maxLength");
}

bool empty_range(const Json& schema) {
  const int64_t max = count_of(schema, "maxLength", -1);
  return max >= 0 && count_of(schema, "minLength", 0) > max;
}

}  // namespace

Result<Dfa> pattern_automaton(std::string_view pattern, const std::string& path, RuleSet& rules) {
  return automaton_of_pattern(pattern, path, Writing::kJson, rules);
}

Result<std::optional<Dfa>> plain_text_automaton(const Schema& schema, RuleSet& rules) {
  if (empty_range(schema.value)) return std::optional(Dfa{.nodes = {Dfa::Node{}}});
  FERRY_TRY(std::optional<Dfa> inside, contents(schema, Writing::kPlain, rules));
  if (!has_length(schema.value)) return inside;
  const ExprRef length = of_length(schema.value, chars(all_chars()), Writing::kPlain);
  FERRY_TRY(Dfa all, to_dfa(length, rules.budget()));
  if (inside) {
    FERRY_TRY(all, intersect(*inside, all, rules.budget()));
  }
  return std::optional(std::move(all));
}

Result<ExprRef> string_of_schema(const Schema& schema, RuleSet& rules) {
  if (empty_range(schema.value)) return choice({});
  FERRY_TRY(std::optional<Dfa> inside, contents(schema, Writing::kJson, rules));
  if (!inside && !has_length(schema.value)) return json_any_string(rules);
  if (!inside) {
    // Not minimised with the rest: a chain as long as the string.
    FERRY_TRY(Dfa dfa, to_dfa(of_length(schema.value, json_any_char()), rules.budget()));
    return automaton(std::move(dfa));
  }
  if (has_length(schema.value)) {
    FERRY_TRY(const Dfa length, to_dfa(of_length(schema.value, json_any_char()), rules.budget()));
    FERRY_TRY(inside, intersect(*inside, length, rules.budget()));
  }
  return automaton(*std::move(inside));
}

Result<Dfa> string_automaton(const Schema& schema, RuleSet& rules) {
  if (empty_range(schema.value)) return Dfa{.nodes = {Dfa::Node{}}};
  FERRY_TRY(const std::optional<Dfa> inside, contents(schema, Writing::kJson, rules));
  FERRY_TRY(Dfa all, to_dfa(of_length(schema.value, json_char(all_chars())), rules.budget()));
  if (!inside) return all;
  return intersect(*inside, all, rules.budget());
}

}  // namespace ferry::grammar
