// How JSON is spelled under a constraint.
//
// White space is where models write it and nowhere else, and bounded, so that none can write it for
// ever: one space, or a line end and up to 64 spaces or 16 tabs, behind { [ and , and before } and
// ]; one space behind a colon.
//
// Strings without a pattern may use every escape JSON has. Where the contents matter (patterns,
// names of further properties) each character has one spelling: itself where JSON allows it, else
// the shortest escape. So a name can't be smuggled past by writing it differently.
#pragma once

#include "base/json.h"
#include "grammar/expr.h"
#include "grammar/rule_set.h"

namespace ferry::grammar {

// Any character as inside a string, with every escape: one per character, pairs of surrogates as
// one.
ExprRef json_any_char();
// One of `set`, in its one spelling.
ExprRef json_char(const CharSet& set);
// Exactly this value; white space inside as above.
Result<ExprRef> json_literal(RuleSet& rules, const Json& value);

Result<ExprRef> json_space(RuleSet& rules);  // may be empty
ExprRef json_colon();                        // the colon and the space behind it
Result<ExprRef> json_comma(RuleSet& rules);  // the comma and the space behind it

Result<ExprRef> json_any_string(RuleSet& rules);
Result<ExprRef> json_any_value(RuleSet& rules);
Result<ExprRef> json_any_object(RuleSet& rules);
Result<ExprRef> json_any_array(RuleSet& rules);

}  // namespace ferry::grammar
