// The arguments of a call as elements of their own, one for each property, as DeepSeek's DSML and
// Qwen3-Coder write them:
//
//   <｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>
//   └────── begin ────────┘    └── text ────┘     └────── end ────────┘ behind (a line end)
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "grammar/rule_set.h"
#include "grammar/vocabulary.h"

namespace ferry::grammar {

struct ElementSpelling {
  std::string begin;      // in front of a name
  std::string text;       // between the name and a value that is a text
  std::string json;       // between the name and a value that is JSON
  std::string value_end;  // behind values other than free texts
  std::string end;        // what no text may contain
  std::string behind;
  std::string none;   // stands where there are no elements
  bool typed = true;  // text and json differ; else a reader goes by the schema of the property
};

// The elements of an object of `schema`, in the order of `properties`. Texts keep to enum, pattern,
// format and length, and do not contain `end`. Errors name the keyword and its place, as
// add_json_schema() does.
Result<ExprRef> add_schema_elements(RuleSet& rules, const Json& schema,
                                    const ElementSpelling& spelling, const Vocabulary& vocabulary);

// Any elements at all.
Result<ExprRef> add_any_elements(RuleSet& rules, const ElementSpelling& spelling,
                                 const Vocabulary& vocabulary);

}  // namespace ferry::grammar
