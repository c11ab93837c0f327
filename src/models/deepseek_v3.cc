// DeepSeek-V3, V3-0324, V3.1, R1 (DeepSeek-AI 2024, arXiv 2412.19437) and Kimi-K2: V2's latent
// attention; experts scored by a sigmoid and balanced by a bias that takes part in the choice only;
// a multi-token-prediction module behind the last layer. MODELS §4, §9.
//
//   s = σ(W_g m);  s' = s + b;  groups by the sum of their two best s';  E' = top K of s'
//   w_e = s_e / Σ_{E'} s · scale;  h += Σ w_e FFN_e(m) + FFN_shared(m),  m = norm(h)
#include "models/table.h"
#include "nn/config_parts.h"
#include "nn/decoder.h"

namespace ferry::models {
namespace {

Result<nn::ModelSpec> read_spec(const Json& config) {
  nn::ConfigReader reader(config);
  nn::ModelSpec spec;
  spec.architecture = "deepseek_v3";
  nn::read_common(reader, spec);
  nn::read_mla(reader, spec);
  nn::read_deepseek_moe(reader, spec);
  nn::read_noaux_gate(reader, spec);
  spec.num_nextn_predict_layers = reader.integer_or("num_nextn_predict_layers", 0, 0, 8);
  return nn::finish_spec(reader, std::move(spec));
}

constexpr std::string_view kModelTypes[] = {"deepseek_v3", "kimi_k2"};

}  // namespace

const nn::Architecture architecture_deepseek_v3 = {
    .name = "deepseek_v3",
    .model_types = kModelTypes,
    .summary = "DeepSeek-V3, V3-0324, V3.1, R1; Kimi-K2; BF16 and FP8; MTP (--speculate mtp)",
    .read_spec = read_spec,
    .shards = true,
    .build = nn::build_decoder,
};

}  // namespace ferry::models
