// See drafter.h.
#include "engine/drafter.h"

#include <algorithm>

namespace ferry::engine {
namespace {

// A longer ending says no more about what follows.
constexpr int64_t kLongestMatch = 16;
constexpr int64_t kLongestPause = 16;

// Tokens that the texts which end before `end` and before tokens.size() have in common, at most
// kLongestMatch.
int64_t common_ending(std::span<const int32_t> tokens, size_t end) {
  int64_t length = 0;
  const auto limit = std::min<int64_t>(kLongestMatch, static_cast<int64_t>(end));
  const int32_t* a = tokens.data() + end;
  const int32_t* b = tokens.data() + tokens.size();
  while (length < limit && *--a == *--b) ++length;
  return length;
}

}  // namespace

void look_up(std::span<const int32_t> tokens, int64_t min_match, int64_t count,
             std::vector<int32_t>& out) {
  int64_t longest = min_match - 1;
  size_t next = 0;  // behind the best place; 0: none
  for (size_t end = tokens.size(); end-- > 1 && longest < kLongestMatch;) {
    if (tokens[end - 1] != tokens.back()) continue;
    const int64_t length = common_ending(tokens, end);
    if (length <= longest) continue;
    longest = length;
    next = end;
  }
  if (next == 0) return;
  const size_t first = out.size();
  for (int64_t i = 0; i < count; ++i, ++next) {
    out.push_back(next < tokens.size() ? tokens[next] : out[first + next - tokens.size()]);
  }
}

int64_t DraftLength::next() {
  if (pause_ == 0) return length_;
  --pause_;
  return 0;
}

void DraftLength::judge(int64_t drafts, int64_t accepted) {
  if (drafts <= 0) return;
  misses_ = accepted > 0 ? 0 : misses_ + 1;
  pause_ = std::min(misses_, kLongestPause);
  if (accepted == drafts) {
    length_ = std::min(most_, length_ * 2);
  } else if (accepted * 2 < drafts) {
    length_ = std::max<int64_t>(1, length_ / 2);
  }
}

std::span<const int32_t> Drafter::guess(std::span<const int32_t> tokens) {
  guessed_.assign(1, tokens.back());
  const int64_t count = length_.next();
  if (count > 0 && drafting_.kind == Speculation::kPromptLookup) {
    look_up(tokens, drafting_.min_match, count, guessed_);
  }
  return guessed_;
}

}  // namespace ferry::engine
