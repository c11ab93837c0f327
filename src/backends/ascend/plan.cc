// See plan.h.
#include "backends/ascend/plan.h"

#include "base/checked_math.h"

namespace ferry::ascend {

void AscendPlan::gqa_attention(const GqaAttentionArgs& args) {
  ComposedPlan::gqa_attention(args);
  if (paths_.attention != FusedAttention::kNone) need(most_fused_bytes(args));
}

void AscendPlan::mla_decode_attention(const MlaDecodeAttentionArgs& args) {
  ComposedPlan::mla_decode_attention(args);
  if (takes_latents(paths_.attention)) need(most_fused_bytes(args));
}

// aclnnGroupedMatmul: what goes in and comes out is as of one product, but that f32 comes out there
// too and is copied; where groups end and offsets of int8 come with each call.
void AscendPlan::need_groups(std::span<const WeightView> experts, int64_t rows) {
  if (!paths_.grouped) return;
  const int64_t columns = experts[0].rows;
  const bool f32 = composed::device_dtype(*experts[0].format, packing_) == Dtype::kF32;
  const int64_t calls = ceil_div(static_cast<int64_t>(experts.size()), kMaxGroups);
  need_besides(calls *
                   (2 * kMaxGroups * dtype_bytes(Dtype::kI32) + 2 * columns + kFusedRoundedBytes) +
               (f32 ? rows * columns * dtype_bytes(Dtype::kF32) : 0));
}

void AscendPlan::moe_experts(const MoeExpertsArgs& args) {
  ComposedPlan::moe_experts(args);
  for (const auto& experts : {args.gate, args.up, args.down}) {
    need_groups(experts, args.ids.num_elements());
  }
}

void AscendPlan::grouped_matmul(const GroupedMatmulArgs& args) {
  ComposedPlan::grouped_matmul(args);
  need_groups(args.experts, args.x.shape[0]);
}

}  // namespace ferry::ascend
