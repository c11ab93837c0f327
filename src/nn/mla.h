// Multi-head latent attention (DeepSeek-V2, §2.1; MODELS §3.3): keys and values of all heads come
// from one cached latent c and one shared rope key k^r per token.
//
// Two forms of the same sum. Prompt tokens use the expanded form (keys and values of every head are
// made from the latents), generated tokens the absorbed one (the query is brought into the latent
// space instead: one 576-wide key for all heads). Which form a token gets depends on its phase
// alone, never on the batch around it.
//
// With an indexer (DeepSeek-V3.2) tokens that see more than its top_k positions attend to the
// chosen ones, in the absorbed form whatever their phase.
//
// Cache: one plane per layer, [kv_lora_rank + qk_rope_head_dim] per token: c after its norm, k^r
// after rope. The indexer has its own.
#pragma once

#include <optional>
#include <string>

#include "nn/indexer.h"
#include "nn/step.h"
#include "weights/weight_loader.h"

namespace ferry::nn {

struct Mla {
  Weight q;                 // [H · (nope + rope), hidden]; empty with q_lora
  Weight q_a, q_b;          // [q_lora, hidden], [H · (nope + rope), q_lora]
  weights::Vector q_norm;   // [q_lora]
  Weight kv_a;              // [rank + rope, hidden]
  weights::Vector kv_norm;  // [rank]
  weights::HeadMatrix up_k, up_v;
  Weight o;               // [hidden, H · value]
  int64_t num_heads = 0;  // H, of this rank
  std::optional<Indexer> indexer;
  int64_t plane = 0;
};

// Appends this layer's plane to the layout.
Mla load_mla(weights::WeightLoader& loader, const std::string& prefix, const ModelSpec& spec,
             KvLayout& layout);

// x, out: [T, hidden]; out may be x.
void run_mla(const Step& step, const Mla& mla, const TensorView& x, const TensorView& out);

}  // namespace ferry::nn
