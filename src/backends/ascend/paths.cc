// Which way each op goes: see paths.h.
#include "backends/ascend/paths.h"

#include <cmath>

namespace ferry::ascend {
namespace {

using composed::reshape;

constexpr std::string_view kAttention =
    "composite: aclnnIndexSelect, aclnnBatchMatMul, aclnnSoftmax";

// Two heads of `size` over two keys in the second of two pages: scores of 0 and 1 for the first
// head, of 0 and 0 for the second; values of 1 and 3. With latents the 1 comes from rotary keys.
bool is_right(Calls& calls, Dtype narrow, FusedAttention version, int64_t size, bool latents) {
  constexpr int64_t kBlock = 16, kRope = 64;
  const auto make = [&](int64_t rows, int64_t width, auto value) {
    std::vector<float> values(static_cast<size_t>(rows * width), 0.0f);
    for (int64_t i = 0; i < rows * width; ++i) values[i] = value(i / width, i % width);
    return calls.as(calls.upload(std::move(values), {rows, width}), narrow);
  };
  const auto first_of_first = [](int64_t row, int64_t column) {
    return row == 0 && column == 0 ? 1.0f : 0.0f;
  };
  const auto first_of_second_key = [](int64_t row, int64_t column) {
    return row == kBlock + 1 && column == 0 ? 1.0f : 0.0f;
  };
  const auto value = [](int64_t row, int64_t) { return row == kBlock + 1 ? 3.0f : 1.0f; };
  const auto zero = [](int64_t, int64_t) { return 0.0f; };
  const auto pages = [&](const TensorView& x) { return reshape(x, {2, kBlock, x.shape[1]}); };
  const TensorView values = pages(make(2 * kBlock, size, value));
  const TensorView out = calls.scratch(Dtype::kF32, {1, 2, size});
  Calls::Attention a{
      .version = version,
      .q = reshape(latents ? make(2, size, zero) : make(2, size, first_of_first), {1, 1, 2, size}),
      .q_rope = {},
      .keys = latents ? values : pages(make(2 * kBlock, size, first_of_second_key)),
      .values = values,
      .key_rope = {},
      .block_table = calls.upload(std::vector<int32_t>{1}, {1, 1}),
      .lengths = {2}};
  if (latents) {
    a.q_rope = reshape(make(2, kRope, first_of_first), {1, 1, 2, kRope});
    a.key_rope = pages(make(2 * kBlock, kRope, first_of_second_key));
  }
  calls.attention(a, out);
  std::vector<float> got(static_cast<size_t>(2 * size));
  calls.copy_out(got.data(), out.data, static_cast<int64_t>(got.size() * sizeof(float)));
  bool right = calls.synchronize().ok();
  for (int64_t i = 0; right && i < 2 * size; ++i) {
    right = std::fabs(got[i] - (i < size ? 2.4621f : 2.0f)) <= 0.02f;
  }
  return right;
}

}  // namespace

Result<FusedAttention> check_attention(const std::shared_ptr<Device>& device) {
  const Vendor& v = device->vendor();
  const std::pair<FusedAttention, bool> versions[] = {
      {FusedAttention::kV4, static_cast<bool>(v.FusedInferAttentionScoreV4)},
      {FusedAttention::kV3, static_cast<bool>(v.FusedInferAttentionScoreV3)},
      {FusedAttention::kV2, static_cast<bool>(v.FusedInferAttentionScoreV2)}};
  for (const auto& [version, is_there] : versions) {
    if (!is_there) continue;
    bool right = true;
    for (const bool latents : {false, true}) {
      if (latents && !takes_latents(version)) continue;
      // A stream for each, as one that refused to run an operator is of no more use.
      FERRY_TRY(const auto calls, Calls::create(device));
      right = right && calls->begin("self check") &&
              is_right(*calls, device->soc().narrow, version, latents ? 512 : 64, latents);
    }
    if (right) return version;
  }
  return FusedAttention::kNone;
}

Paths::Paths(const Vendor& v, bool exact_f32)
    : composed{.rms_norm = v.RmsNorm && v.AddRmsNorm,
               .layer_norm = static_cast<bool>(v.LayerNorm),
               .rope = static_cast<bool>(v.RotaryPositionEmbedding),
               .swiglu = static_cast<bool>(v.SwiGlu),
               .exact_f32 = exact_f32,
               .int8_weights = true,
               .int8_matmul = static_cast<bool>(v.WeightQuantBatchMatmulV2)},
      fused_gate(v.MoeGatingTopK),
      grouped(v.GroupedMatmulV5 || v.GroupedMatmulV4) {}

std::string Paths::describe(const Vendor& vendor, Op op) const {
  if (has_host_default(op)) return "host";
  const auto experts = [&]() -> std::string {
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
    case Op::kMatmul:
      return composed.int8_matmul ? "aclnnMatmul; aclnnWeightQuantBatchMatmulV2 for FP8"
                                  : "aclnnMatmul; FP8 made wide for each product, as "
                                    "aclnnWeightQuantBatchMatmulV2 is missing or wrong";
    case Op::kPerHeadMatmul: return "aclnnBatchMatMul";
    case Op::kRope:
      return composed.rope ? "aclnnRotaryPositionEmbedding"
                           : "composite: aclnnIndexSelect, aclnnInplaceCopy, aclnnMul, aclnnAdd";
    case Op::kKvWrite: return "aclnnScatterNdUpdate";
    case Op::kGqaAttention:
      if (attention == FusedAttention::kNone) return std::string(kAttention);
      return fmt::format("decode: aclnnFusedInferAttentionScoreV{} (16-bit cache); otherwise {}",
                         static_cast<int>(attention), kAttention);
    case Op::kMlaDecodeAttention:
      if (!takes_latents(attention)) return std::string(kAttention);
      return fmt::format("aclnnFusedInferAttentionScoreV{} (16-bit cache, rank 512); otherwise {}",
                         static_cast<int>(attention), kAttention);
    case Op::kMlaPrefillAttention: return std::string(kAttention);
    case Op::kMlaSparseAttention:
      return "composite: aclnnIndexSelect, aclnnBatchMatMul, aclnnSoftmax; positions by the host";
    case Op::kIndexScores: return "composite: aclnnIndexSelect, aclnnBatchMatMul, aclnnRelu";
    case Op::kIndexTopK: return "host";
    case Op::kSwiglu: return "composite: aclnnSigmoid, aclnnMul";
    case Op::kMoeGate:
      return fused_gate ? "aclnnMoeGatingTopK; square roots of softplus by the host"
                        : "host, as aclnnMoeGatingTopK is missing or wrong";
    case Op::kMoePermute: return "host: the products need the counts there";
    case Op::kGroupedMatmul: return experts();
    case Op::kMoeExperts:
      return experts() + (composed.swiglu ? "; aclnnSwiGlu" : "; aclnnSigmoid, aclnnMul");
    case Op::kMoeCombine: return "composite: aclnnIndexSelect, aclnnBatchMatMul";
    case Op::kGatherRows: return "aclnnIndexSelect";
    case Op::kAdd: return "aclnnAdd";
    case Op::kCopy: return "aclnnInplaceCopy, aclnnCast";
    default: return "host";
  }
}

}  // namespace ferry::ascend
