// Finding the op that goes wrong: the forward of a model on two backends, op by op. What an op of
// the first one (the reference) wrote is written over what the same op of the second one made, so
// that every op gets the same inputs on both, and its error is its own.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/logits.h"

namespace ferry::engine {

// Tokens that are enough, and as many as their tensors are kept for.
inline constexpr int64_t kMaxComparedTokens = 64;

struct OpDifference {
  Op op = Op::kEmbed;
  int64_t forward = 0;   // which of the forwards, from 0: chunks of the prompt, then single tokens
  int64_t layer = -1;    // from 0; −1: before the first or behind the last
  int64_t position = 0;  // of the op in its forward
  std::vector<int64_t> shape;  // of what it writes
  double error = 0;  // ‖subject − reference‖ / ‖reference‖; of integers, the share that differs
  bool finite = true;  // false: not a number, or infinite, where the reference is not
};

struct Comparison {
  std::vector<OpDifference> ops;  // in order
  double limit = 0;               // what an error is expected to stay within
  bool is_wrong(const OpDifference& op) const { return !op.finite || op.error > limit; }
};

// The same model loaded on both backends. Errors: as compute_logits(), more than
// kMaxComparedTokens tokens, a cache of int8.
Result<Comparison> compare_ops(const LoadedModel& reference, const LoadedModel& subject,
                               std::span<const int32_t> tokens, const LogitsOptions& options);

}  // namespace ferry::engine
