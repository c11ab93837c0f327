// Two schemas that must both hold, as one.
#pragma once

#include <optional>

#include "grammar/schema_tools.h"

namespace ferry::grammar {

// Both are checked and without $ref, allOf, anyOf and oneOf. nullopt: nothing satisfies both.
// Errors: keywords that can't be joined.
Result<std::optional<Json>> merge_schemas(const Json& a, const Json& b, const std::string& path);

// Whether `value` has type `type` ("integer", "object", …).
bool has_type(const Json& value, std::string_view type);

}  // namespace ferry::grammar
