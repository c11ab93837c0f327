// Which way each op goes: see paths.h.
#include "backends/ascend/paths.h"

namespace ferry::ascend {

Paths::Paths(const Vendor& v, bool exact_f32)
    : composed{.rms_norm = v.RmsNorm && v.AddRmsNorm,
               .layer_norm = static_cast<bool>(v.LayerNorm),
               .exact_f32 = exact_f32},
      fused_gate(v.MoeGatingTopK),
      grouped(v.GroupedMatmulV5 || v.GroupedMatmulV4) {}

std::string Paths::describe(const Vendor& vendor, Op op) const {
  if (has_host_default(op)) return "host";
  const auto experts = [&] {
    if (!grouped) return "composite: aclnnMatmul per expert, as aclnnGroupedMatmul is missing";
    return vendor.GroupedMatmulV5 ? "aclnnGroupedMatmulV5" : "aclnnGroupedMatmulV4";
  };
  switch (op) {
    case Op::kEmbed: return "aclnnIndexSelect; rows of quantised tables by the host";
    case Op::kRmsNorm:
      return composed.rms_norm ? "aclnnRmsNorm" : "host, as aclnnRmsNorm is missing or wrong";
    case Op::kAddRmsNorm:
      return composed.rms_norm ? "aclnnAddRmsNorm" : "host, as aclnnAddRmsNorm is missing or wrong";
    case Op::kLayerNorm:
      return composed.layer_norm ? "aclnnLayerNorm" : "host, as aclnnLayerNorm is missing or wrong";
    case Op::kMatmul: return "aclnnMatmul";
    case Op::kPerHeadMatmul: return "aclnnBatchMatMul";
    case Op::kRope: return "composite: aclnnIndexSelect, aclnnInplaceCopy, aclnnMul, aclnnAdd";
    case Op::kKvWrite: return "aclnnScatterNdUpdate";
    case Op::kGqaAttention:
    case Op::kMlaPrefillAttention:
    case Op::kMlaDecodeAttention:
      return "composite: aclnnIndexSelect, aclnnBatchMatMul, aclnnSoftmax";
    case Op::kMlaSparseAttention:
      return "composite: aclnnIndexSelect, aclnnBatchMatMul, aclnnSoftmax; positions by the host";
    case Op::kIndexScores: return "composite: aclnnIndexSelect, aclnnBatchMatMul, aclnnRelu";
    case Op::kIndexTopK:
    case Op::kArgmax: return "host";
    case Op::kSwiglu: return "composite: aclnnSigmoid, aclnnMul";
    case Op::kMoeGate:
      return fused_gate ? "aclnnMoeGatingTopK; square roots of softplus by the host"
                        : "host, as aclnnMoeGatingTopK is missing or wrong";
    case Op::kMoePermute: return "host: the products need the counts there";
    case Op::kGroupedMatmul:
    case Op::kMoeExperts: return experts();
    case Op::kMoeCombine: return "composite: aclnnIndexSelect, aclnnBatchMatMul";
    case Op::kGatherRows: return "aclnnIndexSelect";
    case Op::kAdd: return "aclnnAdd";
    case Op::kCopy: return "aclnnInplaceCopy, aclnnCast";
    default: return "host";
  }
}

}  // namespace ferry::ascend
