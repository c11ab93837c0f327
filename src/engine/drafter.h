// Drafter: what is guessed of the next tokens of one request, and how many are worth checking.
//
// The lookup takes what followed where the tokens so far last had the same ending: texts quote
// their prompt and repeat themselves. What a prediction module guesses comes from the engine
// loop, for all requests at once. Nothing depends on a guess but the time: the engine takes a
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
// none was more often in a row than `patience`, the next steps go without, one more each time.
class DraftLength {
 public:
  DraftLength(int64_t most, int64_t patience) : most_(most), patience_(patience), length_(most) {}

  // For the next step; 0: it goes without. Each call counts as one step.
  int64_t next();
  void judge(int64_t drafts, int64_t accepted);

 private:
  int64_t most_;
  int64_t patience_;
  int64_t length_;
  int64_t pause_ = 0;   // steps still to go without
  int64_t misses_ = 0;  // in a row
};

class Drafter {
 public:
  explicit Drafter(const Drafting& drafting);

  // Before each step: how many guesses are worth being made; 0: none.
  int64_t num_wanted() { return length_.next(); }
  // Looks up to `count` tokens up, to follow `tokens`. Returns how many there are.
  int64_t look_up_next(std::span<const int32_t> tokens, int64_t count);
  // A guess of a prediction module.
  void take(int32_t last_token, int32_t guess) { guessed_ = {last_token, guess}; }

  // What to compute in a step that checks them: the last token, then what was guessed of the next.
  std::span<const int32_t> guessed() const { return guessed_; }
  void judge(int64_t drafts, int64_t accepted) { length_.judge(drafts, accepted); }

 private:
  int64_t min_match_;
  DraftLength length_;
  std::vector<int32_t> guessed_;
};

}  // namespace ferry::engine
