// Mixture of experts but for the products, and the choice of positions for sparse attention.
#include "backends/cuda/stream.h"
#include "backends/cuda/views.h"

namespace ferry::cuda {

void CudaStream::moe_gate(const MoeGateArgs& args) {
  if (!begin("moe_gate")) return;
  const GateSpec& spec = args.spec;
  CHECK(args.logits.shape[1] == spec.num_experts && args.ids.shape[1] == spec.top_k);
  if (spec.num_experts > kMaxExperts || spec.num_groups > kMaxExpertGroups) {
    return fail(unsupported("cuda: {} experts in {} groups; at most {} in {}", spec.num_experts,
                            spec.num_groups, kMaxExperts, kMaxExpertGroups));
  }
  static_assert(static_cast<int>(GateScore::kSoftmax) == 0 &&
                static_cast<int>(GateScore::kSigmoid) == 1);  // as gate_scores() has it
  const GateParams params{.logits = data_of(args.logits),
                          .logits_stride = args.logits.stride[0],
                          .bias = data_of(args.bias),
                          .num_experts = spec.num_experts,
                          .top_k = spec.top_k,
                          .num_groups = spec.num_groups,
                          .top_k_groups = spec.top_k_groups,
                          .score = static_cast<int32_t>(spec.score),
                          .sum_top_two = spec.group_score == GroupScore::kSumOfTopTwo,
                          .renormalize = spec.renormalize,
                          .scale = spec.scale,
                          .ids = data_of<int32_t>(args.ids),
                          .ids_stride = args.ids.stride[0],
                          .weights = data_of(args.weights),
                          .weights_stride = args.weights.stride[0]};
  launch(Kernel::k_moe_gate, {args.logits.shape[0]}, kWarp, params);
}

void CudaStream::moe_permute(const MoePermuteArgs& args) {
  if (!begin("moe_permute")) return;
  const PermuteParams params{.ids = data_of<int32_t>(args.ids),
                             .ids_stride = args.ids.stride[0],
                             .tokens = args.ids.shape[0],
                             .top_k = args.ids.shape[1],
                             .num_experts = args.num_experts,
                             .token_of_row = data_of<int32_t>(args.token_of_row),
                             .row_of_choice = data_of<int32_t>(args.row_of_choice),
                             .row_of_choice_stride = args.row_of_choice.stride[0],
                             .offsets = data_of<int32_t>(args.expert_offsets)};
  launch(Kernel::k_moe_permute, {args.num_experts}, kThreads, params);
}

void CudaStream::moe_combine(const MoeCombineArgs& args) {
  if (!begin("moe_combine")) return;
  const CombineParams params{.rows = data_of(args.rows),
                             .rows_stride = args.rows.stride[0],
                             .row_of_choice = data_of<int32_t>(args.row_of_choice),
                             .row_of_choice_stride = args.row_of_choice.stride[0],
                             .weights = data_of(args.weights),
                             .weights_stride = args.weights.stride[0],
                             .top_k = args.weights.shape[1],
                             .num_rows = args.rows.shape[0],
                             .size = args.out.shape[1],
                             .out = data_of(args.out),
                             .out_stride = args.out.stride[0]};
  launch(Kernel::k_moe_combine, {args.out.shape[0]}, kThreads, params);
}

void CudaStream::index_top_k(const IndexTopKArgs& args) {
  if (!begin("index_top_k")) return;
  const TopKParams params{.scores = data_of(args.scores),
                          .scores_stride = args.scores.stride[0],
                          .columns = args.scores.shape[1],
                          .out = data_of<int32_t>(args.out),
                          .out_stride = args.out.stride[0],
                          .top_k = args.out.shape[1]};
  launch(Kernel::k_index_top_k, {args.scores.shape[0]}, kThreads, params);
}

}  // namespace ferry::cuda
