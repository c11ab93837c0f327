// Text without constraint up to a marker: what a model thinks before </think>, what it says before
// a tool call. A marker is spelled with control tokens where the vocabulary has them, and is also
// found when it is written out in ordinary ones, as whoever parses the text finds it.
#pragma once

#include <string_view>
#include <vector>

#include "grammar/expr.h"
#include "grammar/vocabulary.h"

namespace ferry::grammar {

// `text` exactly, with control tokens for the parts that have one.
ExprRef spelled(std::string_view text, const Vocabulary& vocabulary);

// Any text that ends with the first of `markers` it contains.
ExprRef free_text_until(const std::vector<std::string_view>& markers, const Vocabulary& vocabulary);
// Any text, perhaps empty, that contains none of `markers`.
ExprRef free_text_without(const std::vector<std::string_view>& markers,
                          const Vocabulary& vocabulary);

}  // namespace ferry::grammar
