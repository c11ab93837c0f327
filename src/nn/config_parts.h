// The parts of config.json that architectures share, read into a ModelSpec. Each reads its keys
// through the ConfigReader, whose first error sticks; cross-checks (divisibility, k ≤ n) are made
// here too, so that no block has to doubt its numbers.
#pragma once

#include "nn/config_reader.h"
#include "nn/model_spec.h"

namespace ferry::nn {

// vocab_size, hidden_size, num_hidden_layers, intermediate_size, rms_norm_eps, tied embeddings,
// bos and eos (one or a list), max_position_embeddings. Refuses an activation other than SiLU.
// Without dense layers intermediate_size may be missing, and is then 0.
enum class DenseLayers : uint8_t { kSome, kNone };
void read_common(ConfigReader& reader, ModelSpec& spec, DenseLayers dense = DenseLayers::kSome);

// num_attention_heads, num_key_value_heads, head_dim (or hidden / heads), attention scale, rope
// over whole heads in the half layout ("rope_interleaved": true, set for GGUF files of the llama
// architecture, switches). Refuses sliding windows and partial rotation.
void read_gqa(ConfigReader& reader, ModelSpec& spec);

// The ranks and head sizes of multi-head latent attention, its rope (interleaved) and the attention
// scale with YaRN's correction.
void read_mla(ConfigReader& reader, ModelSpec& spec);

// rope_theta and rope_scaling (or rope_parameters; type or rope_type) into spec.rope, whose dim and
// layout the caller has set. Returns mscale_all_dim of YaRN, 0 if it is not given.
double read_rope(ConfigReader& reader, ModelSpec& spec);

// The mixture of experts of the DeepSeek family (n_routed_experts, n_shared_experts, groups, …) and
// which layers have it. Leaves score, group score and the weighting to the architecture.
void read_deepseek_moe(ConfigReader& reader, ModelSpec& spec);

// The gate of V3 and its followers: sigmoid scores, groups by their two best, a bias for the
// choice. After read_deepseek_moe().
void read_noaux_gate(ConfigReader& reader, ModelSpec& spec);

// index_n_heads, index_head_dim, index_topk of the sparse attention. After read_mla().
void read_indexer(ConfigReader& reader, ModelSpec& spec);

// read_spec's last line: the spec, or the reader's error.
Result<ModelSpec> finish_spec(const ConfigReader& reader, ModelSpec spec);

}  // namespace ferry::nn
