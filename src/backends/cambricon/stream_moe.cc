// Mixture of experts: the router's choice, sorting by expert, adding the experts up. CNNL's own
// grouped products want counts on the host, so the choices come there once per layer.
#include <limits>

#include "backends/cambricon/host_ops.h"
#include "backends/cambricon/stream.h"
#include "device/workspace.h"

namespace ferry::cambricon {

TensorView CambriconStream::gate_scores(const MoeGateArgs& args) {
  const TensorView logits = calls_->dense(args.logits);
  const TensorView scores = calls_->scratch(Dtype::kF32, {logits.shape[0], logits.shape[1]});
  if (args.spec.score == GateScore::kSoftmax) {
    calls_->softmax(logits, scores);
  } else {
    calls_->activation(kSigmoid, logits, scores);
  }
  return scores;
}

// biased, with −∞ for the experts of groups that are not among the best.
TensorView CambriconStream::without_lost_groups(const TensorView& biased, const GateSpec& spec) {
  const int64_t tokens = biased.shape[0], groups = spec.num_groups;
  const int64_t size = spec.num_experts / groups;
  const int64_t best = spec.group_score == GroupScore::kSumOfTopTwo && size > 1 ? 2 : 1;
  const TensorView tops = calls_->scratch(Dtype::kF32, {tokens * groups, best});
  const TensorView where = calls_->scratch(Dtype::kI32, {tokens * groups, best});
  calls_->top_k(reshape(biased, {tokens * groups, size}), best, tops, where);
  TensorView group_scores = tops;
  if (best == 2) {
    group_scores = calls_->dense(tops.slice(1, 0, 1));
    calls_->binary(kOpTensorAdd, group_scores, calls_->dense(tops.slice(1, 1, 1)), group_scores);
  }
  const TensorView kept = calls_->scratch(Dtype::kF32, {tokens, spec.top_k_groups});
  const TensorView kept_ids = calls_->scratch(Dtype::kI32, {tokens, spec.top_k_groups});
  calls_->top_k(reshape(group_scores, {tokens, groups}), spec.top_k_groups, kept, kept_ids);

  const float lost = -std::numeric_limits<float>::infinity();
  const TensorView mask = calls_->upload(
      std::vector<float>(static_cast<size_t>(tokens * groups), lost), {tokens, groups});
  const TensorView zeros =
      calls_->upload(std::vector<float>(static_cast<size_t>(tokens * spec.top_k_groups), 0.0f),
                     {tokens, spec.top_k_groups});
  calls_->scatter(zeros, kept_ids, mask);
  const TensorView masked = calls_->scratch(Dtype::kF32, {tokens, groups, size});
  calls_->binary(kOpTensorAdd, reshape(biased, {tokens, groups, size}),
                 reshape(mask, {tokens, groups, 1}), masked);
  return reshape(masked, {tokens, spec.num_experts});
}

void CambriconStream::moe_gate(const MoeGateArgs& args) {
  const GateSpec& spec = args.spec;
  if (!paths_.device_gate || spec.score == GateScore::kSqrtSoftplus) {
    return on_host(Op::kMoeGate, args, {&MoeGateArgs::logits, &MoeGateArgs::bias},
                   {&MoeGateArgs::ids, &MoeGateArgs::weights}, &Stream::moe_gate);
  }
  if (!calls_->begin("moe_gate")) return;
  const int64_t tokens = args.logits.shape[0], top_k = spec.top_k;
  const TensorView scores = gate_scores(args);
  TensorView biased = scores;
  if (!args.bias.empty()) {
    biased = calls_->scratch(Dtype::kF32, {tokens, spec.num_experts});
    calls_->binary(kOpTensorAdd, scores, reshape(args.bias, {1, spec.num_experts}), biased);
  }
  if (spec.num_groups > 1) biased = without_lost_groups(biased, spec);
  const TensorView values = calls_->scratch(Dtype::kF32, {tokens, top_k});
  calls_->top_k(biased, top_k, values, args.ids);
  calls_->gather(scores, args.ids, args.weights);
  if (spec.renormalize) {
    const TensorView ones =
        calls_->upload(std::vector<float>(static_cast<size_t>(top_k), 1.0f), {1, top_k, 1});
    const TensorView sums = calls_->scratch(Dtype::kF32, {1, tokens, 1});
    calls_->matmul(reshape(args.weights, {1, tokens, top_k}), ones, sums);
    calls_->affine(sums, 1, 1e-20f, sums);
    calls_->divide(args.weights, reshape(sums, {tokens, 1}), args.weights);
  }
  if (spec.scale != 1) calls_->affine(args.weights, spec.scale, 0, args.weights);
}

// Gives the first row of each expert, and one more for the end.
std::vector<int32_t> CambriconStream::permute(const TensorView& ids, int64_t num_experts,
                                              const TensorView& token_of_row,
                                              const TensorView& row_of_choice) {
  std::vector<int32_t> offsets(static_cast<size_t>(num_experts) + 1, 0);
  const std::vector<int32_t> chosen = calls_->read_back(calls_->dense(ids));
  if (!calls_->ok()) return offsets;
  const int64_t top_k = ids.shape[1];
  for (int32_t e : chosen) {
    if (e < 0 || e >= num_experts) {
      calls_->fail(device_error("cambricon: expert {} of {} was chosen", e, num_experts));
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
  calls_->copy(calls_->upload(std::move(tokens), {count}), token_of_row);
  calls_->copy(calls_->upload(std::move(rows), {ids.shape[0], top_k}), row_of_choice);
  return offsets;
}

void CambriconStream::moe_permute(const MoePermuteArgs& args) {
  if (!calls_->begin("moe_permute")) return;
  std::vector<int32_t> offsets =
      permute(args.ids, args.num_experts, args.token_of_row, args.row_of_choice);
  calls_->copy(calls_->upload(std::move(offsets), {args.num_experts + 1}), args.expert_offsets);
}

// Σ_k as a product [1, K] · [K, D] per token.
void CambriconStream::combine(const TensorView& rows, const TensorView& row_of_choice,
                              const TensorView& weights, const TensorView& out) {
  const int64_t tokens = out.shape[0], size = out.shape[1], top_k = weights.shape[1];
  const TensorView chosen = calls_->scratch(Dtype::kF32, {tokens * top_k, size});
  calls_->select_rows(calls_->dense(rows), reshape(calls_->dense(row_of_choice), {tokens * top_k}),
                      chosen);
  calls_->matmul(reshape(calls_->dense(weights), {tokens, 1, top_k}),
                 reshape(chosen, {tokens, top_k, size}),
                 strided(out.data, out.dtype, {tokens, 1, size}, {out.stride[0], size, 1}));
}

void CambriconStream::moe_combine(const MoeCombineArgs& args) {
  if (calls_->begin("moe_combine")) {
    combine(args.rows, args.row_of_choice, args.weights, args.out);
  }
}

// As the composite (device/composites.cc), in the same workspace, but the choices come to the host
// once and not for each product.
void CambriconStream::moe_experts(const MoeExpertsArgs& args) {
  if (!calls_->begin("moe_experts")) return;
  Workspace& workspace = *args.workspace;
  auto scope = workspace.scope();
  const int64_t tokens = args.ids.shape[0], top_k = args.ids.shape[1];
  const int64_t num_experts = static_cast<int64_t>(args.gate.size());
  const int64_t rows = tokens * top_k, width = args.gate[0].rows;
  const TensorView token_of_row = workspace.tensor(Dtype::kI32, {rows});
  const TensorView row_of_choice = workspace.tensor(Dtype::kI32, {tokens, top_k});
  const std::vector<int32_t> offsets = permute(args.ids, num_experts, token_of_row, row_of_choice);
  const TensorView gathered = workspace.tensor(Dtype::kF32, {rows, args.x.shape[1]});
  const TensorView gate = workspace.tensor(Dtype::kF32, {rows, width});
  const TensorView up = workspace.tensor(Dtype::kF32, {rows, width});
  calls_->select_rows(calls_->dense(args.x), token_of_row, gathered);
  multiply_experts(gathered, offsets, args.gate, gate);
  multiply_experts(gathered, offsets, args.up, up);
  swiglu_rows(gate, up, gate);
  multiply_experts(gate, offsets, args.down, gathered);
  combine(gathered, row_of_choice, args.weights, args.out);
}

}  // namespace ferry::cambricon
