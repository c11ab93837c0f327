// See drafter.h.
#include "engine/drafter.h"

#include <algorithm>

namespace ferry::engine {
namespace {

// A longer ending says no more about what follows.
constexpr int64_t kLongestMatch = 16;
constexpr int64_t kLongestPause = 16;
// A module that is right in two of three cases misses so often by chance.
constexpr int64_t kMtpPatience = 3;

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
  pause_ = std::clamp<int64_t>(misses_ - patience_, 0, kLongestPause);
  if (accepted == drafts) {
    length_ = std::min(most_, length_ * 2);
  } else if (accepted * 2 < drafts) {
    length_ = std::max<int64_t>(1, length_ / 2);
  }
}

Drafter::Drafter(const Drafting& drafting)
    : min_match_(drafting.min_match),
      length_(drafting.kind == Speculation::kMtp ? DraftLength(1, kMtpPatience)
                                                 : DraftLength(drafting.draft_tokens, 0)) {}

int64_t Drafter::look_up_next(std::span<const int32_t> tokens, int64_t count) {
  guessed_.assign(1, tokens.back());
  if (count > 0) look_up(tokens, min_match_, count, guessed_);
  return std::ssize(guessed_) - 1;
}

}  // namespace ferry::engine
