// The dry run of a step (device/composed/plan.h) with the scratch of CANN's fused operators, where
// these take other memory than the composites that they stand for.
#pragma once

#include "backends/ascend/paths.h"
#include "device/composed/plan.h"

namespace ferry::ascend {

// What rounding pieces of scratch up takes at most, of one op.
inline constexpr int64_t kFusedRoundedBytes = 16 * 512;

// The most of an op whose tokens are all in the decode phase.
int64_t most_fused_bytes(const GqaAttentionArgs& args);
int64_t most_fused_bytes(const MlaDecodeAttentionArgs& args);

class AscendPlan : public composed::ComposedPlan {
 public:
  AscendPlan(const Paths& paths, const composed::Packing& packing)
      : ComposedPlan(paths.composed, packing), paths_(paths), packing_(packing) {}

  void gqa_attention(const GqaAttentionArgs& args) override;
  void mla_decode_attention(const MlaDecodeAttentionArgs& args) override;
  void moe_experts(const MoeExpertsArgs& args) override;
  void grouped_matmul(const GroupedMatmulArgs& args) override;

 private:
  void need_groups(std::span<const WeightView> experts, int64_t rows);

  const Paths paths_;
  const composed::Packing packing_;
};

}  // namespace ferry::ascend
