// See clamped_moe.h.
#include "nn/clamped_moe.h"

namespace ferry::nn {
namespace {

// Which experts, and how much of each: ids, weights [T, K].
void choose_experts(const Step& step, const ClampedMoe& moe, const TensorView& x,
                    const TensorView& ids, const TensorView& weights) {
  auto scope = step.workspace.scope();
  const GateSpec& gate = step.spec.moe.gate;
  TensorView logits = step.workspace.tensor(Dtype::kF32, {x.shape[0], gate.num_experts});
  step.stream.matmul({.x = x, .w = moe.router.view, .out = logits});
  if (moe.table.empty()) {
    step.stream.moe_gate(
        {.logits = logits, .bias = moe.bias.view, .spec = gate, .ids = ids, .weights = weights});
    return;
  }
  step.stream.moe_hash_gate({.logits = logits,
                             .token_ids = step.batch.token_ids,
                             .table = moe.table.view,
                             .spec = &gate,
                             .ids = ids,
                             .weights = weights});
}

void expect(const Step& step, const ClampedMoe& moe, const TensorView& ids) {
  step.stream.expect_experts(
      {.ids = ids, .gate = moe.gate.views, .up = moe.up.views, .down = moe.down.views});
}

// A layer adds little to the streams, so the next router mostly chooses what it would choose now;
// where token ids name the experts, it is no guess.
void guess_next_experts(const Step& step, const NextClampedMoe& next) {
  if (next.moe == nullptr) return step.stream.expect_experts({});
  auto scope = step.workspace.scope();
  const int64_t tokens = next.streams.shape[0];
  const int64_t lanes = step.spec.hyper.streams;
  const int64_t top_k = step.spec.moe.gate.top_k;
  TensorView ids = step.workspace.tensor(Dtype::kI32, {tokens, top_k});
  TensorView weights = step.workspace.tensor(Dtype::kF32, {tokens, top_k});
  TensorView x = step.workspace.tensor(Dtype::kF32, {tokens, step.spec.hidden_size});
  TensorView gates = step.workspace.tensor(Dtype::kF32, {tokens, lanes * (lanes + 1)});
  collapse(step, *next.hyper, next.streams, x, gates);
  step.stream.rms_norm(
      {.x = x, .weight = next.norm->view, .epsilon = step.spec.rms_norm_eps, .out = x});
  choose_experts(step, *next.moe, x, ids, weights);
  expect(step, *next.moe, ids);
}

void run_routed(const Step& step, const ClampedMoe& moe, const TensorView& x,
                const NextClampedMoe& next, const TensorView& out) {
  auto scope = step.workspace.scope();
  const int64_t tokens = x.shape[0];
  const int64_t top_k = step.spec.moe.gate.top_k;
  const int64_t experts = step.spec.moe.num_experts;
  const int64_t rows = tokens * top_k;
  const int64_t width = step.spec.moe.moe_intermediate_size;
  TensorView ids = step.workspace.tensor(Dtype::kI32, {tokens, top_k});
  TensorView weights = step.workspace.tensor(Dtype::kF32, {tokens, top_k});
  choose_experts(step, moe, x, ids, weights);
  // The three products are ops of their own: what the second and third want is read while the first
  // computes, and what the next layer will want while the third does.
  if (moe.gate.on_demand) expect(step, moe, ids);

  TensorView token_of_row = step.workspace.tensor(Dtype::kI32, {rows});
  TensorView row_of_choice = step.workspace.tensor(Dtype::kI32, {tokens, top_k});
  TensorView offsets = step.workspace.tensor(Dtype::kI32, {experts + 1});
  step.stream.moe_permute({.ids = ids,
                           .num_experts = experts,
                           .token_of_row = token_of_row,
                           .row_of_choice = row_of_choice,
                           .expert_offsets = offsets});
  TensorView gathered = step.workspace.tensor(Dtype::kF32, {rows, x.shape[1]});
  TensorView gate = step.workspace.tensor(Dtype::kF32, {rows, width});
  TensorView up = step.workspace.tensor(Dtype::kF32, {rows, width});
  step.stream.gather_rows({.x = x, .rows = token_of_row, .out = gathered});
  step.stream.grouped_matmul(
      {.x = gathered, .expert_offsets = offsets, .experts = moe.gate.views, .out = gate});
  step.stream.grouped_matmul(
      {.x = gathered, .expert_offsets = offsets, .experts = moe.up.views, .out = up});
  step.stream.clamped_swiglu(
      {.gate = gate, .up = up, .limit = step.spec.moe.swiglu_limit, .out = gate});
  if (moe.gate.on_demand) guess_next_experts(step, next);
  step.stream.grouped_matmul(
      {.x = gate, .expert_offsets = offsets, .experts = moe.down.views, .out = gathered});
  step.stream.moe_combine(
      {.rows = gathered, .row_of_choice = row_of_choice, .weights = weights, .out = out});
}

}  // namespace

ClampedMoe load_clamped_moe(weights::WeightLoader& loader, const std::string& prefix,
                            const ModelSpec& spec, bool hashed) {
  const int64_t hidden = spec.hidden_size;
  const int64_t experts = spec.moe.num_experts;
  const int64_t width = spec.moe.moe_intermediate_size;
  const std::string bank = prefix + ".experts";
  ClampedMoe moe;
  moe.router = loader.matrix(prefix + ".gate", experts, hidden);
  if (hashed) {
    moe.table = loader.indices(prefix + ".gate.tid2eid", spec.vocab_size,
                               spec.moe.num_experts_per_tok, experts);
  } else {
    moe.bias = loader.vector(prefix + ".gate.bias", experts);
  }
  moe.gate = loader.experts(bank, "w1", experts, width, hidden);
  moe.up = loader.experts(bank, "w3", experts, width, hidden);
  moe.down = loader.experts(bank, "w2", experts, hidden, width);
  const int64_t shared = spec.moe.shared_intermediate_size;
  if (shared == 0) return moe;
  moe.shared_gate = loader.matrix(prefix + ".shared_experts.w1", shared, hidden);
  moe.shared_up = loader.matrix(prefix + ".shared_experts.w3", shared, hidden);
  moe.shared_down = loader.matrix(prefix + ".shared_experts.w2", hidden, shared);
  return moe;
}

void run_clamped_moe(const Step& step, const ClampedMoe& moe, const TensorView& x,
                     const NextClampedMoe& next, const TensorView& out) {
  run_routed(step, moe, x, next, out);
  if (moe.shared_gate.empty()) return;
  auto scope = step.workspace.scope();
  const int64_t tokens = x.shape[0];
  TensorView gate = step.workspace.tensor(Dtype::kF32, {tokens, moe.shared_gate.view.rows});
  TensorView up = step.workspace.tensor(Dtype::kF32, {tokens, moe.shared_up.view.rows});
  TensorView shared = step.workspace.tensor(Dtype::kF32, {tokens, out.shape[1]});
  const MatmulArgs products[] = {{.x = x, .w = moe.shared_gate.view, .out = gate},
                                 {.x = x, .w = moe.shared_up.view, .out = up}};
  step.stream.matmuls(products);
  step.stream.clamped_swiglu(
      {.gate = gate, .up = up, .limit = step.spec.moe.swiglu_limit, .out = gate});
  step.stream.matmul({.x = gate, .w = moe.shared_down.view, .out = shared});
  step.stream.add({.a = out, .b = shared, .out = out});
}

}  // namespace ferry::nn
