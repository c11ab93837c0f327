// See moe.h.
#include "nn/moe.h"

namespace ferry::nn {

Moe load_moe(weights::WeightLoader& loader, const std::string& prefix, const ModelSpec& spec) {
  const int64_t hidden = spec.hidden_size;
  const int64_t experts = spec.moe.num_experts;
  const int64_t width = spec.moe.moe_intermediate_size;
  const std::string bank = prefix + ".experts";
  Moe moe;
  moe.router = loader.matrix(prefix + ".gate", experts, hidden);
  if (spec.moe.has_bias) {
    moe.bias = loader.vector(prefix + ".gate.e_score_correction_bias", experts);
  }
  moe.gate = loader.experts(bank, "gate_proj", experts, width, hidden);
  moe.up = loader.experts(bank, "up_proj", experts, width, hidden);
  moe.down = loader.experts(bank, "down_proj", experts, hidden, width);
  if (spec.moe.shared_intermediate_size > 0) {
    moe.shared =
        load_mlp(loader, prefix + ".shared_experts", hidden, spec.moe.shared_intermediate_size);
  }
  return moe;
}

void run_moe(const Step& step, const Moe& moe, const TensorView& x, const TensorView& out) {
  auto scope = step.workspace.scope();
  const int64_t tokens = x.shape[0];
  const GateSpec& gate = step.spec.moe.gate;
  TensorView ids = step.workspace.tensor(Dtype::kI32, {tokens, gate.top_k});
  TensorView weights = step.workspace.tensor(Dtype::kF32, {tokens, gate.top_k});
  {
    auto logits_scope = step.workspace.scope();
    TensorView logits = step.workspace.tensor(Dtype::kF32, {tokens, gate.num_experts});
    step.stream.matmul({.x = x, .w = moe.router.view, .out = logits});
    step.stream.moe_gate(
        {.logits = logits, .bias = moe.bias.view, .spec = gate, .ids = ids, .weights = weights});
  }
  step.stream.moe_experts({.x = x,
                           .ids = ids,
                           .weights = weights,
                           .gate = moe.gate.views,
                           .up = moe.up.views,
                           .down = moe.down.views,
                           .workspace = &step.workspace,
                           .out = out});
  if (moe.shared.gate.empty()) return;
  TensorView shared = step.workspace.tensor(Dtype::kF32, {tokens, out.shape[1]});
  run_mlp(step, moe.shared, x, shared);
  step.stream.add({.a = out, .b = shared, .out = out});
}

}  // namespace ferry::nn
