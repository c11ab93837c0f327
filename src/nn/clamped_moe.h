// The mixture of experts of DeepSeek-V4 (MODELS §6.7): as nn/moe.h, but gate and up are clamped
// before the product, and in the first layers the token's id names the experts.
#pragma once

#include <string>

#include "nn/hyper.h"
#include "nn/step.h"
#include "weights/weight_loader.h"

namespace ferry::nn {

struct ClampedMoe {
  Weight router;          // [E, hidden]
  weights::Vector bias;   // [E] for the choice only; empty with a table
  weights::Vector table;  // i32 [V, K], or empty
  weights::ExpertBank gate, up, down;
  Weight shared_gate, shared_up, shared_down;
};

// PREFIX.gate (.bias or .tid2eid), PREFIX.experts.{e}.w1, w3, w2, PREFIX.shared_experts.
ClampedMoe load_clamped_moe(weights::WeightLoader& loader, const std::string& prefix,
                            const ModelSpec& spec, bool hashed);

// Of the next layer, whose experts are guessed while this one computes: what its router reads.
struct NextClampedMoe {
  const ClampedMoe* moe = nullptr;  // nullptr: there is none
  const HyperConnection* hyper = nullptr;
  const weights::Vector* norm = nullptr;
  TensorView streams;  // [T, S · hidden], without what this layer's experts add
};

// x, out: [T, hidden]; out may not be x.
void run_clamped_moe(const Step& step, const ClampedMoe& moe, const TensorView& x,
                     const NextClampedMoe& next, const TensorView& out);

}  // namespace ferry::nn
