// The fused operators of mixtures of experts: see stream.h.
#include "backends/ascend/stream.h"

#include "device/composed/weights.h"

namespace ferry::ascend {

// The operator always norms the sum of sigmoids to 1 and never that of a softmax; it takes groups
// of more than two experts and at most 2048 of them.
void AscendStream::moe_gate(const MoeGateArgs& args) {
  const GateSpec& spec = args.spec;
  const bool by_sigmoid = spec.score == GateScore::kSigmoid && spec.renormalize;
  const bool by_softmax = spec.score == GateScore::kSoftmax;
  const bool fits =
      spec.num_experts <= 2048 && (spec.num_groups <= 1 || spec.num_experts / spec.num_groups > 2);
  if (!paths_.fused_gate || !fits || !(by_sigmoid || by_softmax)) {
    return ComposedStream::moe_gate(args);
  }
  if (!calls().begin("moe_gate")) return;
  const bool norms_later = by_softmax && spec.renormalize;
  calls().gate(calls().dense(args.logits), args.bias,
               {.top_k = spec.top_k,
                .num_groups = std::max<int64_t>(spec.num_groups, 1),
                .top_k_groups = spec.num_groups > 1 ? spec.top_k_groups : 1,
                .group_mode = spec.num_groups > 1 && spec.group_score == GroupScore::kSumOfTopTwo
                                  ? kGroupSumOfTopTwo
                                  : kGroupMax,
                .norm = by_sigmoid ? kGateSigmoid : kGateSoftmax,
                .scale = norms_later ? 1.0 : spec.scale},
               args.ids, args.weights);
  if (norms_later) scale_weights(args.weights, spec);
}

void AscendStream::multiply_experts(const TensorView& x, const std::vector<int32_t>& offsets,
                                    std::span<const WeightView> experts, const TensorView& out) {
  std::vector<TensorView> weights, scales;
  bool alike = true;
  for (const WeightView& expert : experts) {
    const composed::DeviceWeight& weight = composed::device_weight(expert);
    weights.push_back(weight.matrix);
    if (!weight.scales.empty()) scales.push_back(weight.scales);
    alike = alike && weight.matrix.dtype == weights.front().dtype;
  }
  if (!paths_.grouped || !alike) {
    return ComposedStream::multiply_experts(x, offsets, experts, out);
  }
  const Dtype dtype = scales.empty() ? weights.front().dtype : scales.front().dtype;
  const composed::Primitives::Mark mark = calls().mark();
  calls().grouped_matmul(calls().as(x, dtype), weights, scales, offsets, out);
  calls().rewind(mark);
}

}  // namespace ferry::ascend
