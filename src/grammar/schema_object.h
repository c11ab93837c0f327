// Objects of a schema: properties, required, additionalProperties, patternProperties,
// propertyNames.
#pragma once

#include "grammar/rule_set.h"
#include "grammar/schema_tools.h"

namespace ferry::grammar {

// What an object needs to know of the rest: how its values are compiled.
class SubschemaCompiler {
 public:
  virtual ~SubschemaCompiler() = default;
  virtual Result<ExprRef> compile(const Schema& schema) = 0;
  virtual RuleSet& rules() = 0;
};

Result<ExprRef> object_of_schema(const Schema& schema, SubschemaCompiler& compiler);

}  // namespace ferry::grammar
