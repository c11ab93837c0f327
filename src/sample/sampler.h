// Sampler: from the logits of one position to one token id, for one request. It keeps what earlier
// tokens of the request mean for the next one: penalty counts and the number of draws.
//
// The steps and their order are written down in include/ferry/sampling.h. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "ferry/sampling.h"

namespace ferry::sample {

// The largest logits of a row over the ids the tokenizer knows, as Stream::top_logits() gives them.
struct TopLogits {
  std::span<const float> values;
  std::span<const int32_t> ids;
};

// The logits of one position: all of them, or the largest alone.
struct LogitRow {
  std::span<float> all;  // empty: there are no others than in `top`
  TopLogits top;
};

inline constexpr int64_t kAllLogits = INT64_MAX;

struct Choice {
  int32_t token = 0;
  std::optional<PositionLogprobs> logprobs;
};

class Sampler {
 public:
  // REQUIRES: validate(params, vocab_size) passed. `vocab_size`: ids the tokenizer knows; rows of
  // the logits behind it are padding of the checkpoint and are never chosen.
  Sampler(SamplingParams params, uint64_t seed, int64_t vocab_size,
          std::span<const int32_t> prompt);

  // Chooses the next token. `logits` has at least vocab_size entries and is overwritten;
  // `forbidden` ids are not chosen, nor any whose bit in `allowed` is 0 (bit id % 32 of word
  // id / 32; empty: all are allowed). Errors: a logit that is NaN or +infinity, or nothing left.
  Result<Choice> sample(std::span<float> logits, std::span<const int32_t> forbidden,
                        std::span<const uint32_t> allowed = {});

  // How many of the largest logits decide while so many ids are forbidden and no mask is set;
  // kAllLogits: sample() needs the whole row.
  int64_t num_deciding(int64_t num_forbidden) const;
  // Chooses what the other sample() chooses of the whole row, with the same errors.
  // REQUIRES: `top` has num_deciding(forbidden.size()) logits, or vocab_size if that is less
  Result<Choice> sample(const TopLogits& top, std::span<const int32_t> forbidden);

  uint64_t seed() const { return seed_; }

 private:
  struct Candidate {
    float logit;
    int32_t id;
    double weight;
  };
  static bool more_probable(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  }

  void adjust(std::span<float> logits) const;
  PositionLogprobs model_logprobs(int32_t chosen);
  void collect(std::span<const float> logits);
  Status collect(const TopLogits& top, std::span<const int32_t> forbidden);
  Result<int32_t> draw();
  void keep_top_k();
  void keep_top_p();
  void note(int32_t token);

  SamplingParams params_;
  uint64_t seed_;
  int64_t vocab_size_;
  uint64_t num_drawn_ = 0;
  std::unordered_map<int32_t, int64_t> output_counts_;
  std::unordered_set<int32_t> repeated_;  // ids of prompt and output; empty: no such penalty
  std::vector<Candidate> candidates_;     // of draw(): ids ascending
  std::vector<float> model_logits_;       // as they came; only where logprobs are wanted
};

}  // namespace ferry::sample
