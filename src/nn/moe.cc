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
  // Each rank has a part of every expert, so that all have as much to do whichever are chosen.
  const weights::Cut rows = weights::cut_rows(width), columns = weights::cut_columns(width);
  moe.gate = loader.experts(bank, "gate_proj", experts, width, hidden, rows);
  moe.up = loader.experts(bank, "up_proj", experts, width, hidden, rows);
  moe.down = loader.experts(bank, "down_proj", experts, hidden, width, columns);
  if (spec.moe.shared_intermediate_size > 0) {
    moe.shared =
        load_mlp(loader, prefix + ".shared_experts", hidden, spec.moe.shared_intermediate_size);
  }
  return moe;
}

namespace {

// The router's choice: ids, weights [T, K].
void route(const Step& step, const Moe& moe, const TensorView& x, const TensorView& ids,
           const TensorView& weights) {
  auto scope = step.workspace.scope();
  const GateSpec& gate = step.spec.moe.gate;
  TensorView logits = step.workspace.tensor(Dtype::kF32, {x.shape[0], gate.num_experts});
  step.stream.matmul({.x = x, .w = moe.router.view, .out = logits});
  step.stream.moe_gate(
      {.logits = logits, .bias = moe.bias.view, .spec = gate, .ids = ids, .weights = weights});
}

// A layer adds little to the residual, so the next router mostly chooses what it would choose now.
void guess_experts(const Step& step, const NextMoe& next) {
  if (next.moe == nullptr) return step.stream.expect_experts({});
  auto scope = step.workspace.scope();
  const int64_t tokens = next.h.shape[0];
  const int64_t top_k = step.spec.moe.gate.top_k;
  TensorView ids = step.workspace.tensor(Dtype::kI32, {tokens, top_k});
  TensorView weights = step.workspace.tensor(Dtype::kF32, {tokens, top_k});
  TensorView x = step.workspace.tensor(Dtype::kF32, {tokens, next.h.shape[1]});
  step.stream.rms_norm(
      {.x = next.h, .weight = next.norm->view, .epsilon = step.spec.rms_norm_eps, .out = x});
  route(step, *next.moe, x, ids, weights);
  step.stream.expect_experts({.ids = ids,
                              .gate = next.moe->gate.views,
                              .up = next.moe->up.views,
                              .down = next.moe->down.views});
}

}  // namespace

void run_moe(const Step& step, const Moe& moe, const TensorView& x, const NextMoe& next,
             const TensorView& out) {
  auto scope = step.workspace.scope();
  const int64_t tokens = x.shape[0];
  const int64_t top_k = step.spec.moe.gate.top_k;
  TensorView ids = step.workspace.tensor(Dtype::kI32, {tokens, top_k});
  TensorView weights = step.workspace.tensor(Dtype::kF32, {tokens, top_k});
  route(step, moe, x, ids, weights);
  if (moe.gate.on_demand) guess_experts(step, next);
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
