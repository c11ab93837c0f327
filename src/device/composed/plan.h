// The dry run of a step (device/plan_stream.h) on a ComposedStream whose primitives compute
// nothing: its own ops ask for their scratch, so that the plan and the run are the same code.
// Batches become one sequence, as long as may be, which no other asks more for than.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <vector>

#include "device/composed/stream.h"
#include "device/composed/weights.h"
#include "device/plan_stream.h"

namespace ferry::composed {

class ComposedPlan : public PlanStream {
 public:
  ComposedPlan(const ComposedPaths& paths, const Packing& packing);

  // With what Primitives::reserve() sets apart for the library.
  int64_t scratch_bytes() const override;

  void embed(const EmbedArgs& args) override;
  void rms_norm(const RmsNormArgs& args) override;
  void add_rms_norm(const AddRmsNormArgs& args) override;
  void layer_norm(const LayerNormArgs& args) override;
  void matmul(const MatmulArgs& args) override;
  void rope(const RopeArgs& args) override;
  void kv_write(const KvWriteArgs& args) override;
  void gqa_attention(const GqaAttentionArgs& args) override;
  void per_head_matmul(const PerHeadMatmulArgs& args) override;
  void mla_prefill_attention(const MlaPrefillAttentionArgs& args) override;
  void mla_decode_attention(const MlaDecodeAttentionArgs& args) override;
  void index_scores(const IndexScoresArgs& args) override;
  void mla_sparse_attention(const MlaSparseAttentionArgs& args) override;
  void swiglu(const SwigluArgs& args) override;
  void moe_gate(const MoeGateArgs& args) override;
  void moe_permute(const MoePermuteArgs& args) override;
  void moe_experts(const MoeExpertsArgs& args) override;
  void grouped_matmul(const GroupedMatmulArgs& args) override;
  void moe_combine(const MoeCombineArgs& args) override;
  void gather_rows(const GatherRowsArgs& args) override;
  void add(const AddArgs& args) override;
  void copy(const CopyArgs& args) override;

 protected:
  // What a fused operator takes instead of what was measured, in one op; or on top of it, in all.
  void need(int64_t bytes) { most_bytes_ = std::max(most_bytes_, bytes); }
  void need_besides(int64_t bytes) { besides_bytes_ = std::max(besides_bytes_, bytes); }

 private:
  template <typename Args>
  void measure(void (Stream::*op)(const Args&), const Args& args);
  // False: this op had operands of these shapes before.
  bool is_new(Op op, std::initializer_list<TensorView> views, int64_t other = 0);
  // A weight of that format and shape as the device will have it, but for its data.
  WeightView imported(const WeightView& view, bool by_head = false);
  HeadMatrixView imported(const HeadMatrixView& view);
  std::vector<WeightView> imported(std::span<const WeightView> views);
  // One sequence with as many tokens as the batch has, or as fit the longest context.
  const BatchView& one_sequence(const BatchView& batch);

  const Packing packing_;
  Primitives* primitives_;  // of stream_
  std::unique_ptr<ComposedStream> stream_;
  using WeightKey = std::tuple<const quant::StorageFormat*, int64_t, int64_t, bool>;
  std::map<WeightKey, DeviceWeight> weights_;
  std::set<std::vector<int64_t>> seen_;
  BatchView batch_;
  std::vector<int32_t> starts_, lengths_, tables_;
  int64_t most_bytes_ = 0, besides_bytes_ = 0;
};

}  // namespace ferry::composed
