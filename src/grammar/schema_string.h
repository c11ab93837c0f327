// Strings of a schema: minLength, maxLength, pattern and format, joined where there are several.
#pragma once

#include <optional>

#include "grammar/rule_set.h"
#include "grammar/schema_tools.h"

namespace ferry::grammar {

// Quotes included.
Result<ExprRef> string_of_schema(const Schema& schema, RuleSet& rules);

// All strings of a schema in their one spelling (json_text.h), quotes included: for the names of
// properties. Without keywords: any string.
Result<Dfa> string_automaton(const Schema& schema, RuleSet& rules);

// The strings of a schema as they are, without quotes and escapes. nullopt: any text.
Result<std::optional<Dfa>> plain_text_automaton(const Schema& schema, RuleSet& rules);

// Strings in which `pattern` matches, in their one spelling, quotes included.
Result<Dfa> pattern_automaton(std::string_view pattern, const std::string& path, RuleSet& rules);

// The value of a counting keyword, cut to 1e9.
int64_t count_of(const Json& schema, const char* keyword, int64_t fallback);

}  // namespace ferry::grammar
