// Mixture of experts: a router picks K of E experts per token; shared experts (fused into one MLP)
// see every token, unweighted (DeepSeekMoE, Dai et al. 2024; MODELS §3.4, §4.3, §8).
//
//   out = Σ_{e in top K} w_e · FFN_e(x) + FFN_shared(x)
#pragma once

#include <string>

#include "nn/mlp.h"

namespace ferry::nn {

struct Moe {
  Weight router;         // [E, hidden]
  weights::Vector bias;  // [E] for the choice only, or empty
  weights::ExpertBank gate, up, down;
  Mlp shared;  // empty weights: none
};

// PREFIX.gate, PREFIX.gate.e_score_correction_bias, PREFIX.experts.*, PREFIX.shared_experts.*
Moe load_moe(weights::WeightLoader& loader, const std::string& prefix, const ModelSpec& spec);

// The mixture that runs next, and what its router is likely to see: `norm` of the residual `h` as
// it is before this one. Where its experts are read on demand, that is enough to guess them.
struct NextMoe {
  const Moe* moe = nullptr;  // nullptr: none, or unknown
  const weights::Vector* norm = nullptr;
  TensorView h;  // [T, hidden]
};

// x, out: [T, hidden]; out may not be x.
void run_moe(const Step& step, const Moe& moe, const TensorView& x, const NextMoe& next,
             const TensorView& out);

}  // namespace ferry::nn
