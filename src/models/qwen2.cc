// Qwen2 and Qwen2.5 (Yang et al. 2024), also DeepSeek-R1-Distill-Qwen: Llama with biases on q, k
// and v. MODELS §7.
//
//   h += W_o Attention(rope(W_q n + b_q), rope(W_k n + b_k), W_v n + b_v),  n = norm(h)
//   h += W_down (silu(W_gate m) ∘ W_up m),                                  m = norm(h)
#include "models/table.h"
#include "nn/config_parts.h"
#include "nn/decoder.h"

namespace ferry::models {
namespace {

Result<nn::ModelSpec> read_spec(const Json& config) {
  nn::ConfigReader reader(config);
  nn::ModelSpec spec;
  spec.architecture = "qwen2";
  nn::read_common(reader, spec);
  nn::read_gqa(reader, spec);
  spec.attention_bias = true;
  return nn::finish_spec(reader, std::move(spec));
}

constexpr std::string_view kModelTypes[] = {"qwen2"};

}  // namespace

const nn::Architecture architecture_qwen2 = {
    .name = "qwen2",
    .model_types = kModelTypes,
    .summary = "Qwen2, Qwen2.5, R1-Distill-Qwen; YaRN rope scaling",
    .read_spec = read_spec,
    .shards = true,
    .build = nn::build_decoder,
};

}  // namespace ferry::models
