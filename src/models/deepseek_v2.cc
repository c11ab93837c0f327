// DeepSeek-V2, V2-Lite, V2.5, Coder-V2 (DeepSeek-AI 2024, arXiv 2405.04434): multi-head latent
// attention; mixture of experts with softmax scores, group-limited by the best score of each group
// in the large models. MODELS §3.
//
//   s = softmax(W_g m);  groups by max s;  w = top K of s · scale   (not renormalised, as released)
//   h += Σ w_e FFN_e(m) + FFN_shared(m),  m = norm(h)
#include "base/quote_name.h"
#include "models/table.h"
#include "nn/config_parts.h"
#include "nn/decoder.h"

namespace ferry::models {
namespace {

Result<nn::ModelSpec> read_spec(const Json& config) {
  nn::ConfigReader reader(config);
  nn::ModelSpec spec;
  spec.architecture = "deepseek_v2";
  nn::read_common(reader, spec);
  nn::read_mla(reader, spec);
  nn::read_deepseek_moe(reader, spec);

  GateSpec& gate = spec.moe.gate;
  gate.score = GateScore::kSoftmax;
  gate.group_score = GroupScore::kMax;
  const std::string method = reader.string_or("topk_method", "greedy");
  if (method == "greedy") {
    gate.num_groups = gate.top_k_groups = 1;
  } else if (method != "group_limited_greedy") {
    reader.fail(unsupported("topk_method: found {}, expected greedy or group_limited_greedy",
                            quote_name(method)));
  }
  const std::string scoring = reader.string_or("scoring_func", "softmax");
  if (scoring != "softmax") {
    reader.fail(unsupported("scoring_func: found {}, expected \"softmax\"", quote_name(scoring)));
  }
  // The scale belongs to the branch without renormalisation (MODELS §3.4).
  if (gate.renormalize) gate.scale = 1.0f;
  return nn::finish_spec(reader, std::move(spec));
}

constexpr std::string_view kModelTypes[] = {"deepseek_v2"};

}  // namespace

const nn::Architecture architecture_deepseek_v2 = {
    .name = "deepseek_v2",
    .model_types = kModelTypes,
    .summary = "DeepSeek-V2, V2-Lite, V2.5, Coder-V2",
    .read_spec = read_spec,
    .shards = true,
    .build = nn::build_decoder,
};

}  // namespace ferry::models
