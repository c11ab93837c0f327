// Llama (Touvron et al. 2023; Llama 3: Dubey et al. 2024), also DeepSeek-R1-Distill-Llama: grouped
// query attention with rope over whole heads, SwiGLU feed-forward. MODELS §7.
//
//   h += W_o Attention(rope(W_q n), rope(W_k n), W_v n),  n = norm(h)
//   h += W_down (silu(W_gate m) ∘ W_up m),                m = norm(h)
#include "models/table.h"
#include "nn/config_parts.h"
#include "nn/decoder.h"

namespace ferry::models {
namespace {

Result<nn::ModelSpec> read_spec(const Json& config) {
  nn::ConfigReader reader(config);
  nn::ModelSpec spec;
  spec.architecture = "llama";
  nn::read_common(reader, spec);
  nn::read_gqa(reader, spec);
  spec.attention_bias = reader.boolean_or("attention_bias", false);
  spec.attention_output_bias = spec.attention_bias;
  if (reader.boolean_or("mlp_bias", false)) {
    reader.fail(unsupported("mlp_bias: found true; feed-forward biases are not supported"));
  }
  return nn::finish_spec(reader, std::move(spec));
}

constexpr std::string_view kModelTypes[] = {"llama"};

}  // namespace

const nn::Architecture architecture_llama = {
    .name = "llama",
    .model_types = kModelTypes,
    .summary = "Llama 1 to 3, R1-Distill-Llama; llama3, linear and YaRN rope scaling",
    .read_spec = read_spec,
    .shards = true,
    .build = nn::build_decoder,
};

}  // namespace ferry::models
