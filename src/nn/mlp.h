// The gated feed-forward block of all models here: W_down (silu(W_gate x) ∘ W_up x)
// (Shazeer 2020, SwiGLU).
#pragma once

#include <string>

#include "nn/step.h"
#include "weights/weight_loader.h"

namespace ferry::nn {

struct Mlp {
  Weight gate;  // [width, hidden]
  Weight up;    // [width, hidden]
  Weight down;  // [hidden, width]
};

// PREFIX.gate_proj, PREFIX.up_proj, PREFIX.down_proj.
Mlp load_mlp(weights::WeightLoader& loader, const std::string& prefix, int64_t hidden,
             int64_t width);

// x, out: [T, hidden]; out may not be x.
void run_mlp(const Step& step, const Mlp& mlp, const TensorView& x, const TensorView& out);

}  // namespace ferry::nn
