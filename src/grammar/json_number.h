// Numbers of JSON within bounds, exactly: as automata over their decimal digits.
//
// Written numbers have at most 15 significant digits (integers 18), so that a reader who keeps them
// as doubles finds every bound kept and every value as it was written. Numbers without bounds may
// have an exponent of two digits; bounded ones have none.
#pragma once

#include <optional>
#include <string_view>

#include "base/json.h"
#include "grammar/expr.h"

namespace ferry::grammar {

struct Bound {
  Json value;  // a number
  bool exclusive = false;
};

struct NumberBounds {
  std::optional<Bound> low, high;
};

ExprRef json_any_number();

// Errors: bounds that need more digits than are written. Bounds that leave nothing give an
// expression that nothing matches.
Result<ExprRef> json_integer(const NumberBounds& bounds);
Result<ExprRef> json_number(const NumberBounds& bounds, Budget& budget);

}  // namespace ferry::grammar
