// Names of \p{...} as Oniguruma knows them, and what to write for them in a PCRE2 class.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace ferry::text {

// White_Space and word characters as the inside of a PCRE2 class.
inline constexpr std::string_view kSpaceItems =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
    "\\x{205f}\\x{3000}";
inline constexpr std::string_view kWordItems = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";

// The inside of a class for \p{name} or, if `negated`, \P{name}. Names that are neither a general
// category nor one of the few properties known here are taken for scripts.
Result<std::string> property_items(std::string_view name, bool negated);

}  // namespace ferry::text
