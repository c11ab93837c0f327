// See detokenizer.h.
#include "text/detokenizer.h"

#include <algorithm>
#include <utility>

#include "text/utf8.h"

namespace ferry::text {

std::string Detokenizer::push(int32_t id) {
  if (skip_special_ && tokenizer_.is_special(id) &&
      std::find(kept_.begin(), kept_.end(), id) == kept_.end()) {
    return {};
  }
  held_ += tokenizer_.token_bytes(id);
  size_t whole = 0;
  while (whole < held_.size()) {
    const Utf8Step step = utf8_step(held_, whole);
    if (step.kind == Utf8Step::Kind::kIncomplete) break;
    whole += step.length;
  }
  std::string text = utf8_lossy(std::string_view(held_).substr(0, whole));
  held_.erase(0, whole);
  return text;
}

std::string Detokenizer::finish() { return utf8_lossy(std::exchange(held_, {})); }

}  // namespace ferry::text
