// Attention of DeepSeek-V4 (MODELS §6.4): every head reads the same vector per key, which is its
// value too; keys are the tokens of a window and, in most layers, compressed entries behind it.
//
//   c = norm(W_qa x);  q_h = rope(norm(W_qb c)_h);  k = rope(norm(W_kv x))
//   o_h = rope⁻¹(Σ p_s k_s), p with a sink per head;   y = W_ob [A_g o_(g)] over groups of heads
//
// The published kernels round cached keys to FP8 and the indexer's to FP4 and rotate the latter by
// a Hadamard matrix first. That is not imitated: keys are what the cache's dtype makes of them.
//
// Cache: one plane of keys, of the tokens in the window; compressors have their own
// (nn/compressor.h).
#pragma once

#include <optional>
#include <string>

#include "nn/compressor.h"

namespace ferry::nn {

struct WindowAttention {
  Weight q_a, q_b;          // [q_lora, hidden], [H · d, q_lora]
  Weight kv;                // [d, hidden]
  weights::Vector q_norm;   // [q_lora]
  weights::Vector kv_norm;  // [d]
  weights::Vector sinks;    // [H]
  Weight o_a, o_b;          // [G · o_lora, H / G · d], [hidden, G · o_lora]
  std::optional<Compressor> compressor;
  std::optional<EntryIndexer> indexer;
  int64_t plane = 0;
};

// PREFIX.wq_a … PREFIX.wo_b, PREFIX.compressor, PREFIX.indexer. `ratio`: tokens per entry, or 0.
WindowAttention load_window_attention(weights::WeightLoader& loader, const std::string& prefix,
                                      const ModelSpec& spec, int64_t ratio, KvLayout& layout);

// step.rope_table is that of the layer. x, out: [T, hidden]; out may be x. `ones`: [d], for the
// norm of query heads, which has no weight.
void run_window_attention(const Step& step, const WindowAttention& attention,
                          const weights::Vector& ones, const TensorView& x, const TensorView& out);

}  // namespace ferry::nn
