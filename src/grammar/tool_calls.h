// Calls of tools as a constraint: the markup of the model's family around arguments that keep to
// the schema of the tool that is called.
//
//   lead begin  before_name NAME before_arguments ARGUMENTS after_arguments  (between …)*  end
//
// ARGUMENTS are a JSON object, or elements where the family writes those (schema_elements.h).
#pragma once

#include <optional>

#include <string>
#include <vector>

#include "grammar/rule_set.h"
#include "grammar/schema_elements.h"
#include "grammar/vocabulary.h"

namespace ferry::grammar {

struct ToolCallText {
  struct Tool {
    std::string name;
    std::string parameters;  // JSON schema; empty: any object
    // The schema is kept to or refused. Else arguments of a schema that can't be honoured are any
    // object.
    bool strict = false;
  };
  std::string lead;  // in front of calls that are all there is
  std::string begin, before_name, before_arguments, after_arguments, between, end;
  std::optional<ElementSpelling> elements;
  bool numbered = false;    // ":" and a number stand behind the name
  std::vector<Tool> tools;  // at least one
  bool required = false;    // the answer is calls; else it may be something else, too
  bool parallel = true;     // more than one call
};

// `otherwise`: what the answer may be where no call is required; nullptr: any text, also in front
// of calls. Errors name the tool and what its schema has wrong: "tools[1].function.parameters: …".
Result<ExprRef> add_tool_calls(RuleSet& rules, const ToolCallText& calls, const ExprRef& otherwise,
                               const Vocabulary& vocabulary);

}  // namespace ferry::grammar
