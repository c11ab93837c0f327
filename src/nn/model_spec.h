// ModelSpec: the numbers of one model, as its config gives them; no weights, no memory. The
// planner, `ferry show` and the forward read the same struct. Field names are those of config.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/ops.h"

namespace ferry::nn {

enum class RopeScaling : uint8_t { kNone, kLinear, kYarn, kLlama3 };

// MODELS §1.3–1.5. Frequencies are computed in double by rope_frequencies().
struct RopeSpec {
  int64_t dim = 0;  // rotary entries per head, even
  double theta = 10000.0;
  RopeLayout layout = RopeLayout::kHalf;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;
  int64_t original_max_position_embeddings = 0;
  double beta_fast = 32.0, beta_slow = 1.0;              // yarn
  double amplitude = 1.0;                                // of cosine and sine
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  // Divisors of the dim / 2 frequencies, what GGUF files have instead of llama3; or empty.
  std::vector<float> frequency_factors;
};

struct MoeSpec {
  int64_t num_experts = 0;  // 0: dense model
  int64_t num_experts_per_tok = 0;
  int64_t moe_intermediate_size = 0;
  int64_t shared_intermediate_size = 0;  // all shared experts fused into one MLP; 0: none
  bool has_bias = false;                 // e_score_correction_bias
  int64_t num_hash_layers = 0;           // the first layers, where the token's id says the experts
  float swiglu_limit = 0;                // 0: SwiGLU is not clamped
  GateSpec gate;
};

struct MlaSpec {
  int64_t q_lora_rank = 0;  // 0: q is projected directly
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;
  int64_t v_head_dim = 0;
  float norm_epsilon = 1e-6f;  // of the inner norms (q_a, kv_a)
};

// The lightning indexer of DeepSeek-V3.2 (MODELS §5.2) and V4 (§6.6).
struct IndexerSpec {
  int64_t top_k = 0;  // positions or entries that a token attends to; 0: there is no indexer
  int64_t num_heads = 0;
  int64_t head_dim = 0;  // the first qk_rope_head_dim are rotated; in V4 the last
  float norm_epsilon = 1e-6f;
};

// DeepSeek-V4 (MODELS §6): one key for all heads that is the value too, a window of recent tokens,
// and behind it entries that stand for several tokens each.
struct WindowSpec {
  int64_t window = 0;  // tokens, the own one included
  int64_t rope_dim = 0;
  int64_t q_lora_rank = 0;
  int64_t o_groups = 0;  // of heads, in the output projection
  int64_t o_lora_rank = 0;
  // Of each main layer: tokens per entry, or 0 for the window alone. Entries of 4 tokens overlap
  // and are chosen by an indexer (CSA); of others all are attended to (HCA).
  std::vector<int64_t> ratios;
  RopeSpec entry_rope;  // of layers with entries; the others have ModelSpec::rope
};
inline constexpr int64_t kOverlappingRatio = 4;

// The residual as several streams (hyper-connections, MODELS §6.3).
struct HyperSpec {
  int64_t streams = 0;
  int64_t sinkhorn_iterations = 0;
  float epsilon = 1e-6f;
};

enum class AttentionKind : uint8_t { kGqa, kMla, kWindow };

struct ModelSpec {
  std::string architecture;  // "deepseek_v3"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t max_position_embeddings = 0;
  float rms_norm_eps = 1e-6f;
  bool tie_word_embeddings = false;

  AttentionKind attention = AttentionKind::kGqa;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;  // GQA
  int64_t head_dim = 0;             // GQA, window
  bool attention_bias = false;      // q, k, v
  bool attention_output_bias = false;
  bool qk_norm = false;
  MlaSpec mla;
  IndexerSpec indexer;
  WindowSpec window;
  HyperSpec hyper;
  float attention_scale = 0;  // of the logits before softmax
  RopeSpec rope;

  MoeSpec moe;
  std::vector<bool> layer_is_moe;        // one per main layer
  int64_t num_nextn_predict_layers = 0;  // MTP modules behind the main layers
  std::string left_out;                  // of the checkpoint, for people; mostly empty

  int64_t bos_token_id = -1;
  std::vector<int64_t> eos_token_ids;
};

}  // namespace ferry::nn
