// Grouped-query attention (Ainslie et al. 2023), with the biases of Qwen2 and the per-head norms of
// Qwen3 where the spec asks for them (MODELS §7, §8).
//
// Cache: two planes per layer, keys then values, each [KV · head_dim] per token.
#pragma once

#include <string>

#include "nn/step.h"
#include "weights/weight_loader.h"

namespace ferry::nn {

struct Gqa {
  Weight q, k, v, o;
  weights::Vector q_bias, k_bias, v_bias, o_bias;  // or empty
  weights::Vector q_norm, k_norm;                  // [head_dim], or empty
  int64_t num_heads = 0, num_kv_heads = 0;         // of this rank
  int64_t first_plane = 0;
};

// Appends this layer's planes to the layout.
Gqa load_gqa(weights::WeightLoader& loader, const std::string& prefix, const ModelSpec& spec,
             KvLayout& layout);

// x, out: [T, hidden]; out may be x.
void run_gqa(const Step& step, const Gqa& gqa, const TensorView& x, const TensorView& out);

}  // namespace ferry::nn
