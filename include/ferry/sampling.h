// How the next token is chosen and when generation ends: plain values, part of the public API.
//
// The steps, in this order, on the logits of one position:
//   1. logit_bias, then repetition, then presence and frequency penalties
//   2. temperature; 0 takes the largest logit (lowest id among equals) and skips the rest
//   3. top_k, then top_p over what top_k left, then min_p
//   4. one draw from what remains, renormalised
// The draw depends on (seed, number of tokens drawn before) alone, through ferry's own generator,
// so that one seed gives one text on every platform whose logits agree.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ferry {

struct SamplingParams {
  double temperature = 1.0;         // [0, 100]
  int64_t top_k = 0;                // ≥ 0; 0: off. The k most probable tokens stay.
  double top_p = 1.0;               // (0, 1]. The smallest set whose probability reaches top_p.
  double min_p = 0.0;               // [0, 1]. At least min_p times the largest probability.
  double presence_penalty = 0.0;    // [-2, 2]. Off the logit of every token of the output.
  double frequency_penalty = 0.0;   // [-2, 2]. The same, times how often it was there.
  double repetition_penalty = 1.0;  // (0, 100]. Divides positive and multiplies negative logits of
                                    // every token of prompt and output.
  std::vector<std::pair<int32_t, float>> logit_bias;  // [-100, 100] each; each id once
  std::optional<uint64_t> seed;                       // none: the engine draws one and reports it

  // -1: none. n ≥ 0: the log-probability of each chosen token and of the n most probable ones
  // (≤ 20). They are those of the model itself: a log-softmax of the logits as they come, before
  // bias, penalties and temperature, over the ids the tokenizer knows.
  int64_t logprobs = -1;
};

struct StopConditions {
  std::vector<std::string> strings;  // ≤ 16, none empty, ≤ 1024 bytes each; never in the output
  std::vector<int32_t> token_ids;    // besides the model's own end-of-text ids
  bool ignore_eos = false;           // the model's own ids no longer stop
  int64_t max_tokens = 0;            // 0: until the context is full
  int64_t min_tokens = 0;            // until then no stop token is chosen and no string looked for
};

// One token and how probable the model found it.
struct TokenLogprob {
  int32_t token = 0;
  double logprob = 0;  // natural logarithm
};

struct PositionLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // most probable first; lower id first among equals
};

}  // namespace ferry
