// DeepSeek-V3.2, V3.2-Exp, Speciale (DeepSeek-AI 2025, arXiv 2512.02556): V3 whose attention looks
// at the positions that a lightning indexer chooses, at most 2048 of them. MODELS §5.
//
//   q^I_j = W_iq c^q,  k^I = LayerNorm(W_ik x),  w^I = W_w x    (rope on the first entries, halves)
//   I(t, s) = Σ_j w^I_j max(0, q^I_j · k^I_s);   S_t = top K of I(t, s ≤ t)
//   h += MLA over S_t;   h += Σ w_e FFN_e(m) + FFN_shared(m)    (as V3)
//
// The positive factor of w^I does not change the choice and is left out; so is the Hadamard
// rotation of q^I and k^I, which changes no product and only helps where they are rounded to 8
// bits.
#include "models/table.h"
#include "nn/config_parts.h"
#include "nn/decoder.h"

namespace ferry::models {
namespace {

Result<nn::ModelSpec> read_spec(const Json& config) {
  nn::ConfigReader reader(config);
  nn::ModelSpec spec;
  spec.architecture = "deepseek_v32";
  nn::read_common(reader, spec);
  nn::read_mla(reader, spec);
  nn::read_indexer(reader, spec);
  nn::read_deepseek_moe(reader, spec);
  nn::read_noaux_gate(reader, spec);
  spec.num_nextn_predict_layers = reader.integer_or("num_nextn_predict_layers", 0, 0, 8);
  return nn::finish_spec(reader, std::move(spec));
}

constexpr std::string_view kModelTypes[] = {"deepseek_v32"};

}  // namespace

const nn::Architecture architecture_deepseek_v32 = {
    .name = "deepseek_v32",
    .model_types = kModelTypes,
    .summary =
        "DeepSeek-V3.2, V3.2-Exp, Speciale; sparse attention; BF16 and FP8; MTP (--speculate mtp)",
    .read_spec = read_spec,
    .shards = true,
    .build = nn::build_decoder,
};

}  // namespace ferry::models
