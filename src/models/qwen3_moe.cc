// Qwen3-MoE (Qwen team 2025): Qwen3's attention; the feed-forward is a mixture of experts without a
// shared expert, softmax over all experts, the chosen scores renormalised. MODELS §8.
//
//   p = softmax(W_g m);  h += Σ_{e in top K} p_e / Σ p · FFN_e(m),  m = norm(h)
#include "models/table.h"
#include "nn/config_parts.h"
#include "nn/decoder.h"

namespace ferry::models {
namespace {

void read_moe(nn::ConfigReader& reader, nn::ModelSpec& spec) {
  nn::MoeSpec& moe = spec.moe;
  moe.num_experts = reader.integer("num_experts", 1, nn::kMaxExperts);
  moe.num_experts_per_tok = reader.integer("num_experts_per_tok", 1, moe.num_experts);
  moe.moe_intermediate_size = reader.integer("moe_intermediate_size", 1, nn::kMaxIntermediateSize);
  moe.gate.num_experts = moe.num_experts;
  moe.gate.top_k = moe.num_experts_per_tok;
  moe.gate.renormalize = reader.boolean_or("norm_topk_prob", false);

  // Layer l is a mixture iff (l + 1) % decoder_sparse_step == 0 and it is not listed as dense.
  const int64_t every = reader.integer_or("decoder_sparse_step", 1, 1, nn::kMaxLayers);
  for (int64_t l = 0; l < spec.num_hidden_layers; ++l) {
    spec.layer_is_moe[static_cast<size_t>(l)] = (l + 1) % every == 0;
  }
  for (int64_t l : reader.integers_or_one("mlp_only_layers", 0, nn::kMaxLayers)) {
    if (l < spec.num_hidden_layers) spec.layer_is_moe[static_cast<size_t>(l)] = false;
  }
}

Result<nn::ModelSpec> read_spec(const Json& config) {
  nn::ConfigReader reader(config);
  nn::ModelSpec spec;
  spec.architecture = "qwen3_moe";
  nn::read_common(reader, spec);
  nn::read_gqa(reader, spec);
  spec.qk_norm = true;
  spec.attention_bias = reader.boolean_or("attention_bias", false);
  spec.attention_output_bias = spec.attention_bias;
  read_moe(reader, spec);
  return nn::finish_spec(reader, std::move(spec));
}

constexpr std::string_view kModelTypes[] = {"qwen3_moe"};

}  // namespace

const nn::Architecture architecture_qwen3_moe = {
    .name = "qwen3_moe",
    .model_types = kModelTypes,
    .summary = "Qwen3-30B-A3B, Qwen3-235B-A22B; BF16 and FP8",
    .read_spec = read_spec,
    .shards = true,
    .build = nn::build_decoder,
};

}  // namespace ferry::models
