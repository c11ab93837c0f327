// Regular expressions as a constraint, and as the `pattern` of a JSON schema: the part of
// ECMAScript (with the u flag) that is regular.
//
//   understood  literals, . [a-z] [^a-z] \d \D \w \W \s \S \p{L} \P{Lu}, \t \n \r \f \v \0 \cX
//               \xHH \uHHHH \u{…}, groups (…) (?:…) (?<name>…), | * + ? {n} {n,} {n,m}, the lazy
//               forms of these (the language is the same), ^ at the start and $ at the end of the
//               pattern or of one of its outermost alternatives
//   refused     look-around, back-references, \b \B, flags, anchors elsewhere, scripts in \p
// \d and \w are ASCII, \s is Unicode white space, . is everything but line ends.
#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "grammar/expr.h"

namespace ferry::grammar {

enum class RegexMatch {
  kWhole,   // the whole text must match, anchors or not
  kSearch,  // some part of it must, unless anchored: JSON Schema's `pattern`
};

// `spell` says how characters are written: plain UTF-8, or as inside a JSON string.
// Errors: "regex: … at character N", naming the construct.
Result<ExprRef> parse_regex(std::string_view pattern, RegexMatch match,
                            const std::function<ExprRef(const CharSet&)>& spell);

}  // namespace ferry::grammar
