// Manifold-constrained hyper-connections (DeepSeek-V4; MODELS §6.3): the residual is S streams. A
// block reads a mixture of them and its output is added to each, while the streams are mixed by a
// nearly doubly stochastic matrix; all three mixtures are computed from the streams themselves.
//
//   y = Σ_j pre_j X_j;   o = Block(norm(y));   X_k = post_k o + Σ_j C_jk X_j
#pragma once

#include <string>

#include "nn/step.h"
#include "weights/weight_loader.h"

namespace ferry::nn {

struct HyperConnection {
  Weight fn;                    // F [M, S · hidden], M = S (S + 2); of the head S
  weights::Vector base, scale;  // [M], [3] or [1]
};

// PREFIX_fn, PREFIX_base, PREFIX_scale. `head`: only collapses.
HyperConnection load_hyper(weights::WeightLoader& loader, const std::string& prefix,
                           const ModelSpec& spec, bool head);

// y = Σ_j pre_j X_j and, unless it is the head's, gates [T, S · (S + 1)] for expand().
//   streams: [T, S · hidden]; y: [T, hidden]
void collapse(const Step& step, const HyperConnection& hyper, const TensorView& streams,
              const TensorView& y, const TensorView& gates);

// streams: [T, S · hidden], in place; x: [T, hidden]
void expand(const Step& step, const TensorView& streams, const TensorView& x,
            const TensorView& gates);

}  // namespace ferry::nn
