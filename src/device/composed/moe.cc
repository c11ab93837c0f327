// Mixture of experts: the router's choice, sorting by expert, adding the experts up. Products
// per expert want counts on the host, so the choices come there once per layer.
#include <limits>

#include "device/composed/on_host.h"
#include "device/composed/stream.h"
#include "device/workspace.h"

namespace ferry::composed {

TensorView ComposedStream::gate_scores(const MoeGateArgs& args) {
  const TensorView logits = p_->dense(args.logits);
  const TensorView scores = p_->scratch(Dtype::kF32, {logits.shape[0], logits.shape[1]});
  if (args.spec.score == GateScore::kSoftmax) {
    p_->softmax(logits, scores);
  } else {
    p_->activation(Activation::kSigmoid, logits, scores);
  }
  return scores;
}

// biased, with −∞ for the experts of groups that are not among the best.
TensorView ComposedStream::without_lost_groups(const TensorView& biased, const GateSpec& spec) {
  const int64_t tokens = biased.shape[0], groups = spec.num_groups;
  const int64_t size = spec.num_experts / groups;
  const int64_t best = spec.group_score == GroupScore::kSumOfTopTwo && size > 1 ? 2 : 1;
  const TensorView tops = p_->scratch(Dtype::kF32, {tokens * groups, best});
  const TensorView where = p_->scratch(Dtype::kI32, {tokens * groups, best});
  p_->top_k(reshape(biased, {tokens * groups, size}), best, tops, where);
  TensorView group_scores = tops;
  if (best == 2) {
    group_scores = p_->dense(tops.slice(1, 0, 1));
    p_->binary(BinaryOp::kAdd, group_scores, p_->dense(tops.slice(1, 1, 1)), group_scores);
  }
  const TensorView kept = p_->scratch(Dtype::kF32, {tokens, spec.top_k_groups});
  const TensorView kept_ids = p_->scratch(Dtype::kI32, {tokens, spec.top_k_groups});
  p_->top_k(reshape(group_scores, {tokens, groups}), spec.top_k_groups, kept, kept_ids);

  const float lost = -std::numeric_limits<float>::infinity();
  const TensorView mask =
      p_->upload(std::vector<float>(static_cast<size_t>(tokens * groups), lost), {tokens, groups});
  const TensorView zeros =
      p_->upload(std::vector<float>(static_cast<size_t>(tokens * spec.top_k_groups), 0.0f),
                 {tokens, spec.top_k_groups});
  p_->scatter(zeros, kept_ids, mask);
  const TensorView masked = p_->scratch(Dtype::kF32, {tokens, groups, size});
  p_->binary(BinaryOp::kAdd, reshape(biased, {tokens, groups, size}),
             reshape(mask, {tokens, groups, 1}), masked);
  return reshape(masked, {tokens, spec.num_experts});
}

void ComposedStream::scale_weights(const TensorView& weights, const GateSpec& spec) {
  const int64_t tokens = weights.shape[0], top_k = weights.shape[1];
  if (spec.renormalize) {
    const TensorView ones =
        p_->upload(std::vector<float>(static_cast<size_t>(top_k), 1.0f), {1, top_k, 1});
    const TensorView sums = p_->scratch(Dtype::kF32, {1, tokens, 1});
    p_->matmul(reshape(weights, {1, tokens, top_k}), ones, sums);
    p_->affine(sums, 1, 1e-20f, sums);
    p_->divide(weights, reshape(sums, {tokens, 1}), weights);
  }
  if (spec.scale != 1) p_->affine(weights, spec.scale, 0, weights);
}

void ComposedStream::moe_gate(const MoeGateArgs& args) {
  const GateSpec& spec = args.spec;
  if (!paths_.device_gate || spec.score == GateScore::kSqrtSoftplus) {
    return on_host(Op::kMoeGate, args, {&MoeGateArgs::logits, &MoeGateArgs::bias},
                   {&MoeGateArgs::ids, &MoeGateArgs::weights}, &Stream::moe_gate);
  }
  if (!p_->begin("moe_gate")) return;
  const int64_t tokens = args.logits.shape[0], top_k = spec.top_k;
  const TensorView scores = gate_scores(args);
  TensorView biased = scores;
  if (!args.bias.empty()) {
    biased = p_->scratch(Dtype::kF32, {tokens, spec.num_experts});
    p_->binary(BinaryOp::kAdd, scores, reshape(args.bias, {1, spec.num_experts}), biased);
  }
  if (spec.num_groups > 1) biased = without_lost_groups(biased, spec);
  const TensorView values = p_->scratch(Dtype::kF32, {tokens, top_k});
  p_->top_k(biased, top_k, values, args.ids);
  p_->gather(scores, args.ids, args.weights);
  scale_weights(args.weights, spec);
}

// Gives the first row of each expert, and one more for the end.
std::vector<int32_t> ComposedStream::permute(const TensorView& ids, int64_t num_experts,
                                             const TensorView& token_of_row,
                                             const TensorView& row_of_choice) {
  std::vector<int32_t> offsets(static_cast<size_t>(num_experts) + 1, 0);
  const std::vector<int32_t> chosen = p_->read_back(p_->dense(ids));
  if (!p_->ok()) return offsets;
  const int64_t top_k = ids.shape[1];
  for (int32_t e : chosen) {
    if (e < 0 || e >= num_experts) {
      p_->fail(device_error("expert {} of {} was chosen", e, num_experts));
      return offsets;
    }
    ++offsets[static_cast<size_t>(e) + 1];
  }
  for (size_t e = 1; e < offsets.size(); ++e) offsets[e] += offsets[e - 1];
  std::vector<int32_t> next(offsets.begin(), offsets.end() - 1);
  std::vector<int32_t> tokens(chosen.size()), rows(chosen.size());
  for (size_t c = 0; c < chosen.size(); ++c) {
    rows[c] = next[static_cast<size_t>(chosen[c])]++;
    tokens[static_cast<size_t>(rows[c])] = static_cast<int32_t>(static_cast<int64_t>(c) / top_k);
  }
  const int64_t count = static_cast<int64_t>(chosen.size());
  p_->copy(p_->upload(std::move(tokens), {count}), token_of_row);
  p_->copy(p_->upload(std::move(rows), {ids.shape[0], top_k}), row_of_choice);
  return offsets;
}

void ComposedStream::moe_permute(const MoePermuteArgs& args) {
  if (!p_->begin("moe_permute")) return;
  std::vector<int32_t> offsets =
      permute(args.ids, args.num_experts, args.token_of_row, args.row_of_choice);
  p_->copy(p_->upload(std::move(offsets), {args.num_experts + 1}), args.expert_offsets);
}

// Σ_k as a product [1, K] · [K, D] per token; one by one where a product would not be exact.
void ComposedStream::combine(const TensorView& rows, const TensorView& row_of_choice,
                             const TensorView& weights, const TensorView& out) {
  const int64_t tokens = out.shape[0], size = out.shape[1], top_k = weights.shape[1];
  const TensorView from = p_->dense(rows);
  if (paths_.exact_f32) {
    const TensorView chosen = p_->scratch(Dtype::kF32, {tokens * top_k, size});
    p_->select_rows(from, reshape(p_->dense(row_of_choice), {tokens * top_k}), chosen);
    p_->matmul(reshape(p_->dense(weights), {tokens, 1, top_k}),
               reshape(chosen, {tokens, top_k, size}),
               strided(out.data, out.dtype, {tokens, 1, size}, {out.stride[0], size, 1}));
    return;
  }
  const TensorView sum = p_->scratch(Dtype::kF32, {tokens, size});
  const TensorView chosen = p_->scratch(Dtype::kF32, {tokens, size});
  for (int64_t k = 0; k < top_k; ++k) {
    const TensorView& part = k == 0 ? sum : chosen;
    p_->select_rows(from, reshape(p_->dense(row_of_choice.slice(1, k, 1)), {tokens}), part);
    p_->binary(BinaryOp::kMul, part, p_->dense(weights.slice(1, k, 1)), part);
    if (k > 0) p_->binary(BinaryOp::kAdd, sum, chosen, sum);
  }
  p_->copy(sum, out);
}

void ComposedStream::moe_combine(const MoeCombineArgs& args) {
  if (p_->begin("moe_combine")) {
    combine(args.rows, args.row_of_choice, args.weights, args.out);
  }
}

// As the composite (device/composites.cc), in the same workspace, but the choices come to the host
// once and not for each product.
void ComposedStream::moe_experts(const MoeExpertsArgs& args) {
  if (!p_->begin("moe_experts")) return;
  Workspace& workspace = *args.workspace;
  auto scope = workspace.scope();
  const int64_t tokens = args.ids.shape[0], top_k = args.ids.shape[1];
  const int64_t num_experts = static_cast<int64_t>(args.gate.size());
  const int64_t rows = tokens * top_k, width = args.gate[0].rows;
  const TensorView token_of_row = workspace.tensor(Dtype::kI32, {rows});
  const TensorView row_of_choice = workspace.tensor(Dtype::kI32, {tokens, top_k});
  const std::vector<int32_t> offsets = permute(args.ids, num_experts, token_of_row, row_of_choice);
  const TensorView gathered = workspace.tensor(Dtype::kF32, {rows, args.x.shape[1]});
  const TensorView both = workspace.tensor(Dtype::kF32, {2 * rows, width});
  // Side by side where one operation takes them so, otherwise one behind the other.
  const TensorView sides = reshape(both, {rows, 2 * width});
  TensorView gate = paths_.swiglu ? sides.slice(1, 0, width) : both.slice(0, 0, rows);
  const TensorView up = paths_.swiglu ? sides.slice(1, width, width) : both.slice(0, rows, rows);
  p_->select_rows(p_->dense(args.x), token_of_row, gathered);
  multiply_experts(gathered, offsets, args.gate, gate);
  multiply_experts(gathered, offsets, args.up, up);
  if (paths_.swiglu) {
    gate = p_->scratch(Dtype::kF32, {rows, width});
    p_->swiglu(sides, gate);
  } else {
    swiglu_rows(gate, up, gate);
  }
  multiply_experts(gate, offsets, args.down, gathered);
  combine(gathered, row_of_choice, args.weights, args.out);
}

}  // namespace ferry::composed
