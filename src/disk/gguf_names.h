// The two dictionaries between GGUF and Hugging Face: architecture names and tensor names. The rest
// of ferry only ever sees the Hugging Face side.
//
//   blk.3.attn_q.weight         ↔  model.layers.3.self_attn.q_proj.weight
//   blk.3.ffn_gate_exps.weight  ↔  model.layers.3.mlp.experts.gate_proj.weight   [E, out, in]
//   blk.3.attn_k_b.weight       ↔  model.layers.3.self_attn.k_b_proj.weight      [H, rank, nope]
//
// The second and third names are ferry's: Hugging Face has one tensor per expert, and kv_b_proj in
// one piece. DeepSeek-V4 has its own names (`layers.3.attn.wq_a.weight`).
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace ferry::disk {

// "qwen3moe" → "qwen3_moe". For deepseek2, which GGUF uses for two generations, `sigmoid_gate`
// decides between deepseek_v2 and deepseek_v3. nullopt: an architecture that ferry has no
// dictionary for.
std::optional<std::string_view> model_type_of_gguf(std::string_view architecture,
                                                   bool sigmoid_gate);
// "kimi_k2" → "deepseek2". nullopt: GGUF has no name for it.
std::optional<std::string_view> gguf_architecture_of(std::string_view model_type);

// Where it is not known how many layers a model has, none is a prediction module.
inline constexpr int64_t kAnyNumberOfLayers = std::numeric_limits<int64_t>::max();

// `architecture` is GGUF's. nullopt: a name that is not in the dictionary.
std::optional<std::string> tensor_name_from_gguf(std::string_view architecture,
                                                 std::string_view name,
                                                 int64_t num_layers = kAnyNumberOfLayers);
// REQUIRES: num_layers, where the name is one of a prediction module
std::optional<std::string> tensor_name_to_gguf(std::string_view architecture, std::string_view name,
                                               int64_t num_layers = kAnyNumberOfLayers);

}  // namespace ferry::disk
