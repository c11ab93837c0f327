// Numbers that config.json and GGUF both have, each under its own name. Both directions of the
// translation (gguf_config.cc, gguf_config_export.cc) use these tables.
#pragma once

#include <cstdint>
#include <string_view>

namespace ferry::disk {

enum class KeyKind { kInt, kFloat, kBool };

struct KeyPair {
  std::string_view hf;
  std::string_view gguf;  // without the architecture
  KeyKind kind = KeyKind::kInt;
  bool required = true;
};

inline constexpr KeyPair kCommonKeys[] = {
    {"hidden_size", "embedding_length"},
    {"num_attention_heads", "attention.head_count"},
    {"max_position_embeddings", "context_length"},
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon", KeyKind::kFloat},
    {"rope_theta", "rope.freq_base", KeyKind::kFloat, false},
    {"intermediate_size", "feed_forward_length", KeyKind::kInt, false},
};

inline constexpr KeyPair kQwenMoeKeys[] = {
    {"num_experts", "expert_count"},
    {"num_experts_per_tok", "expert_used_count"},
    {"moe_intermediate_size", "expert_feed_forward_length"},
};

inline constexpr KeyPair kDeepseekMoeKeys[] = {
    {"n_routed_experts", "expert_count"},
    {"num_experts_per_tok", "expert_used_count"},
    {"n_shared_experts", "expert_shared_count", KeyKind::kInt, false},
    {"moe_intermediate_size", "expert_feed_forward_length"},
    {"routed_scaling_factor", "expert_weights_scale", KeyKind::kFloat, false},
    {"norm_topk_prob", "expert_weights_norm", KeyKind::kBool, false},
};

inline constexpr KeyPair kDeepseekGroupKeys[] = {
    {"n_group", "expert_group_count", KeyKind::kInt, false},
    {"topk_group", "expert_group_used_count", KeyKind::kInt, false},
    {"first_k_dense_replace", "leading_dense_block_count", KeyKind::kInt, false},
};

inline constexpr KeyPair kIndexerKeys[] = {
    {"index_n_heads", "attention.indexer.head_count"},
    {"index_head_dim", "attention.indexer.key_length"},
    {"index_topk", "attention.indexer.top_k"},
};

inline constexpr KeyPair kV4Keys[] = {
    {"q_lora_rank", "attention.q_lora_rank"},
    {"qk_rope_head_dim", "rope.dimension_count"},
    {"sliding_window", "attention.sliding_window"},
    {"o_groups", "attention.output_group_count"},
    {"o_lora_rank", "attention.output_lora_rank"},
    {"compress_rope_theta", "attention.compress_rope_freq_base", KeyKind::kFloat},
    {"hc_mult", "hyper_connection.count"},
    {"hc_sinkhorn_iters", "hyper_connection.sinkhorn_iterations"},
    {"hc_eps", "hyper_connection.epsilon", KeyKind::kFloat, false},
    {"num_hash_layers", "hash_layer_count", KeyKind::kInt, false},
};

struct GateName {
  uint64_t gguf;
  std::string_view hf;
};
inline constexpr GateName kGates[] = {{1, "softmax"}, {2, "sigmoid"}, {4, "sqrtsoftplus"}};
inline constexpr uint64_t kSoftmaxGate = 1;
inline constexpr uint64_t kSigmoidGate = 2;

// GGUF stores 0.1 · mscale_all_dim.
inline constexpr double kMscaleUnit = 0.1;

inline bool is_mla(std::string_view gguf_architecture) {
  return gguf_architecture == "deepseek2" || gguf_architecture == "deepseek32";
}
inline bool is_deepseek(std::string_view gguf_architecture) {
  return is_mla(gguf_architecture) || gguf_architecture == "deepseek4";
}

}  // namespace ferry::disk
