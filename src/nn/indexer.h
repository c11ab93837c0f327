// The lightning indexer of DeepSeek-V3.2 (arXiv 2512.02556, §2.1; MODELS §5.2): which cached
// positions each token attends to.
//
// A token that sees at most top_k positions attends to all of them, by the dense ops; whether it
// does depends on its position alone, so that its bits never depend on how a prompt was cut. Index
// keys are written for every token all the same.
//
// Cache: one plane per layer, [index_head_dim] per token: k^I after its norm and rope.
#pragma once

#include <string>

#include "nn/step.h"
#include "weights/weight_loader.h"

namespace ferry::nn {

struct Indexer {
  Weight q_b;                           // [H^I · d^I, q_lora]
  Weight k;                             // [d^I, hidden]
  weights::Vector k_norm, k_norm_bias;  // [d^I]
  Weight weights_proj;                  // [H^I, hidden]
  int64_t plane = 0;
};

// PREFIX.wq_b, PREFIX.wk, PREFIX.k_norm, PREFIX.weights_proj. Appends this layer's plane.
Indexer load_indexer(weights::WeightLoader& loader, const std::string& prefix,
                     const ModelSpec& spec, KvLayout& layout);

// Whether any of tokens [first, first + count) may see more than `most` positions.
bool sees_more_than(const BatchView& batch, int64_t most, int64_t first, int64_t count);
// The same for the indexer's top_k.
bool needs_choice(const Step& step, int64_t first, int64_t count);

// Writes the index keys of all tokens to the cache; then, if any token needs it, the chosen
// positions of each token to `positions` (i32 [T, top_k]).
//   x: [T, hidden]; low_query: [T, q_lora], after its norm
void run_indexer(const Step& step, const Indexer& indexer, const TensorView& x,
                 const TensorView& low_query, const TensorView& positions);

}  // namespace ferry::nn
