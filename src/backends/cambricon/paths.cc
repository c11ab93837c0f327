// Which way each op goes: see paths.h.
#include "backends/cambricon/paths.h"

namespace ferry::cambricon {

composed::ComposedPaths paths_of(const Vendor& v) {
  return {
      .rms_norm = v.cnnlCreateFuseNormDescriptor != nullptr &&
                  v.cnnlDestroyFuseNormDescriptor != nullptr &&
                  v.cnnlSetFuseNormDescriptor != nullptr &&
                  v.cnnlGetFuseNormWorkspaceSize != nullptr && v.cnnlFuseNorm != nullptr,
      .layer_norm =
          v.cnnlGetLayerNormOpWorkspaceSize != nullptr && v.cnnlLayerNormForward != nullptr,
      .device_gate = v.cnnlGetTopKTensorWorkspaceSize != nullptr &&
                     v.cnnlTopKTensor_v3 != nullptr && v.cnnlGetGatherWorkspaceSize != nullptr &&
                     v.cnnlGather_v2 != nullptr && v.cnnlGetScatterWorkspaceSize != nullptr &&
                     v.cnnlScatter_v2 != nullptr && v.cnnlGetDivWorkspaceSize != nullptr &&
                     v.cnnlDiv_v2 != nullptr,
      .int8_weights = true,
  };
}

std::string describe(const composed::ComposedPaths& paths, Op op) {
  if (has_host_default(op)) return "host";
  switch (op) {
    case Op::kEmbed: return "cnnlIndexSelect; rows of quantised tables by the host";
    case Op::kRmsNorm:
    case Op::kAddRmsNorm:
      return paths.rms_norm ? "cnnlFuseNorm" : "host, as cnnlFuseNorm is missing or wrong";
    case Op::kLayerNorm:
      return paths.layer_norm ? "cnnlLayerNormForward"
                              : "host, as cnnlLayerNormForward is missing or wrong";
    case Op::kMatmul:
      return paths.int8_weights ? "cnnlBatchMatMulEx; FP8 is int8, made wide for each product"
                                : "cnnlBatchMatMulEx";
    case Op::kPerHeadMatmul: return "cnnlBatchMatMulEx";
    case Op::kRope: return "composite: cnnlIndexSelect, cnnlCopy_v2, cnnlOpTensor";
    case Op::kKvWrite: return "cnnlScatterNd_v2";
    case Op::kGqaAttention:
    case Op::kMlaPrefillAttention:
    case Op::kMlaDecodeAttention:
      return "composite: cnnlIndexSelect, cnnlBatchMatMulEx, cnnlSoftmaxForward";
    case Op::kMlaSparseAttention:
      return "composite: cnnlIndexSelect, cnnlBatchMatMulEx, cnnlSoftmaxForward; positions by the "
             "host";
    case Op::kIndexScores:
      return "composite: cnnlIndexSelect, cnnlBatchMatMulEx, cnnlActivationForward";
    case Op::kIndexTopK: return "host";
    case Op::kSwiglu: return "composite: cnnlActivationForward, cnnlOpTensor";
    case Op::kMoeGate:
      return paths.device_gate
                 ? "composite: cnnlSoftmaxForward or cnnlActivationForward, "
                   "cnnlTopKTensor_v3, cnnlGather_v2; square roots of softplus by the host"
                 : "host, as cnnlTopKTensor_v3, cnnlGather_v2, cnnlScatter_v2 or "
                   "cnnlDiv_v2 is missing or wrong";
    case Op::kMoePermute: return "host: the products need the counts there";
    case Op::kGroupedMatmul:
    case Op::kMoeExperts: return "composite: cnnlBatchMatMulEx per expert";
    case Op::kMoeCombine: return "composite: cnnlIndexSelect, cnnlBatchMatMulEx";
    case Op::kGatherRows: return "cnnlIndexSelect";
    case Op::kAdd: return "cnnlOpTensor";
    case Op::kCopy: return "cnnlCopy_v2, cnnlCastDataType";
    default: return "host";
  }
}

}  // namespace ferry::cambricon
