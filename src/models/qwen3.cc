// Qwen3, dense (Qwen team 2025): Llama with an RMS norm on every head of q and k before rope, and a
// head size of its own. MODELS §8.
//
//   h += W_o Attention(rope(norm_q(W_q n)), rope(norm_k(W_k n)), W_v n),  n = norm(h)
//   h += W_down (silu(W_gate m) ∘ W_up m),                                m = norm(h)
#include "models/table.h"
#include "nn/config_parts.h"
#include "nn/decoder.h"

namespace ferry::models {
namespace {

Result<nn::ModelSpec> read_spec(const Json& config) {
  nn::ConfigReader reader(config);
  nn::ModelSpec spec;
  spec.architecture = "qwen3";
  nn::read_common(reader, spec);
  nn::read_gqa(reader, spec);
  spec.qk_norm = true;
  spec.attention_bias = reader.boolean_or("attention_bias", false);
  spec.attention_output_bias = spec.attention_bias;
  return nn::finish_spec(reader, std::move(spec));
}

constexpr std::string_view kModelTypes[] = {"qwen3"};

}  // namespace

const nn::Architecture architecture_qwen3 = {
    .name = "qwen3",
    .model_types = kModelTypes,
    .summary = "Qwen3 dense, 0.6B to 32B; YaRN rope scaling",
    .read_spec = read_spec,
    .shards = true,
    .build = nn::build_decoder,
};

}  // namespace ferry::models
