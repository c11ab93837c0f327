// Drafter: guesses the next tokens of one request, and how many of them are worth checking.
//
// The lookup takes what followed where the tokens so far last had the same ending: texts quote
// their prompt and repeat themselves. Nothing depends on a guess but the time: the engine takes a
// token only where the request's own sampler, on the model's own logits, chooses it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ferry/ferry.h"

namespace ferry::engine {

struct Drafting {
  Speculation kind = Speculation::kOff;
  int64_t draft_tokens = 0;  // guessed at once at most
  int64_t min_match = 1;     // of the lookup: tokens that an ending must have in common
};

// What followed behind the longest ending of `tokens` that is there a second time, the last of
// equally long ones. As the guess goes on it may run into itself, so that a short period goes on
// for ever. Up to `count` tokens are added to `out`; none where no ending of `min_match` tokens
// comes a second time.
void look_up(std::span<const int32_t> tokens, int64_t min_match, int64_t count,
             std::vector<int32_t>& out);

// How many tokens to guess: doubled when all were right, halved when less than half were. When
// none was, the next steps go without, one more each time.
class DraftLength {
 public:
  explicit DraftLength(int64_t most) : most_(most), length_(most) {}

  // For the next step; 0: it goes without. Each call counts as one step.
  int64_t next();
  void judge(int64_t drafts, int64_t accepted);

 private:
  int64_t most_;
  int64_t length_;
  int64_t pause_ = 0;   // steps still to go without
  int64_t misses_ = 0;  // in a row
};

class Drafter {
 public:
  explicit Drafter(const Drafting& drafting)
      : drafting_(drafting), length_(drafting.draft_tokens) {}

  // What to compute in a step that checks guesses: the last of `tokens`, then the guesses. Just
  // that one: there are none. Valid until the next call.
  std::span<const int32_t> guess(std::span<const int32_t> tokens);
  // What guess() said last.
  std::span<const int32_t> guessed() const { return guessed_; }
  void judge(int64_t drafts, int64_t accepted) { length_.judge(drafts, accepted); }

 private:
  Drafting drafting_;
  DraftLength length_;
  std::vector<int32_t> guessed_;
};

}  // namespace ferry::engine
