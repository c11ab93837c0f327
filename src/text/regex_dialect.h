// The regular expressions of tokenizer.json are written for Oniguruma's Ruby syntax; ferry matches
// with PCRE2. This translates one into the other where they differ, and refuses by name what it
// does not know, so that no expression silently means something else:
//
//   \s \S        Unicode White_Space (PCRE2 adds U+180E)
//   \w \b        Alphabetic, M, Nd, Pc (PCRE2: letters, numbers, underscore)
//   \h           a hexadecimal digit (PCRE2: horizontal space);  \v  vertical tab
//   \p{Han}      the Script property (PCRE2: Script_Extensions); long and short category names
//   [a&&[^b]]    intersections and nested classes, as look-aheads over one character
//   ^ $          at every line;  (?m:)  lets the dot match a newline
//   a(?i)b|c     the option reaches to the end of the group, over the bar
//
// Refused: back-references, named and capturing uses, POSIX brackets, \R \X \K \G, comments,
// quantified quantifiers.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace ferry::text {

// A PCRE2 pattern for PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE with newline LF.
Result<std::string> pcre2_from_oniguruma(std::string_view pattern);

// A PCRE2 pattern that matches exactly `text`.
std::string pcre2_from_literal(std::string_view text);

}  // namespace ferry::text
