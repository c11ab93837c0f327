// Logits of given tokens: what `ferry logits` writes and what the tests compare.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/model_loader.h"

namespace ferry::engine {

struct LogitsOptions {
  // The first `prefill` tokens are computed as a prompt, the others one by one as if they had been
  // generated. Negative: all are prompt. At least one is.
  int64_t prefill = -1;
  int64_t chunk = 0;  // prompt tokens per forward; 0: all at once
  Dtype kv_dtype = Dtype::kF32;
  int64_t block_size = 16;
  // What the ops go through, made of the backend's own stream; empty: that itself.
  std::function<std::unique_ptr<Stream>(std::unique_ptr<Stream>)> watch;
};

// Row i of the result holds the logits after token i: [tokens, vocab_size] f32.
// Errors: no tokens, too many for the model's context, an id outside the vocabulary (its index and
// the size are named).
Result<std::vector<float>> compute_logits(const LoadedModel& model, std::span<const int32_t> tokens,
                                          const LogitsOptions& options = {});

// The same of a model whose shards are spread over devices (engine/ranks.h), and for several
// sequences that run side by side in one batch.
Result<std::vector<float>> compute_logits(std::span<const LoadedModel> shards,
                                          std::span<const int32_t> tokens,
                                          const LogitsOptions& options = {});
Result<std::vector<std::vector<float>>> compute_logits_together(
    std::span<const LoadedModel> shards, std::span<const std::vector<int32_t>> sequences,
    const LogitsOptions& options = {});

}  // namespace ferry::engine
