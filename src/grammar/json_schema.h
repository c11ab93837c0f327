// JSON Schema (draft 2020-12) as a constraint.
//
//   honoured   type (one or several), enum, const, $ref within the schema ($defs, recursion),
//   anyOf,
//              allOf, oneOf (branches must exclude each other, see below), properties, required,
//              additionalProperties, patternProperties, propertyNames, items, prefixItems,
//              minItems, maxItems, minLength, maxLength, pattern (see regex.h), format (see
//              json_format.h), minimum, maximum, exclusiveMinimum, exclusiveMaximum (integers and
//              decimals, exactly), minProperties and maxProperties where the other keywords see to
//              them already
//   ignored    annotations: title, description, default, examples, $comment, x-…, …
//   refused    all else, by name and place: "multipleOf" at #/properties/n is not supported: …
//
// Properties come in the order of `properties`; those not required may be left out. Objects and
// arrays are closed by default (schema_tools.h). Of a oneOf, branches must differ in type, in the
// values of a property, or in a required property that the other forbids; otherwise it is refused.
// A schema without a type means what its keywords are about.
#pragma once

#include <memory>
#include <string>

#include "base/json.h"
#include "grammar/rule_set.h"
#include "grammar/schema_object.h"

namespace ferry::grammar {

// The values of `schema` as an expression; what it takes is added to `rules`.
Result<ExprRef> add_json_schema(RuleSet& rules, const Json& schema);

// For parts of the schema `root`, to which their $ref refer. `rules` and `root` outlive it.
std::unique_ptr<SubschemaCompiler> make_schema_compiler(RuleSet& rules, const Json& root);

}  // namespace ferry::grammar
