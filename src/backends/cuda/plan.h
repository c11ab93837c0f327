// The dry run of a step (device/plan_stream.h) that also counts what the ops of a CudaStream take
// of device memory: its scratch, and the arrays of experts that it keeps.
#pragma once

#include <set>

#include "backends/cuda/scratch.h"
#include "device/plan_stream.h"

namespace ferry::cuda {

class CudaPlan : public PlanStream {
 public:
  explicit CudaPlan(const ScratchTerms& terms) : terms_(terms) {}

  int64_t scratch_bytes() const override;
  int64_t tables_bytes() const override { return tables_bytes_; }

  void matmul(const MatmulArgs& args) override;
  void gqa_attention(const GqaAttentionArgs& args) override;
  void mla_prefill_attention(const MlaPrefillAttentionArgs& args) override;
  void mla_decode_attention(const MlaDecodeAttentionArgs& args) override;
  void mla_sparse_attention(const MlaSparseAttentionArgs& args) override;
  void grouped_matmul(const GroupedMatmulArgs& args) override;
  void top_logits(const TopLogitsArgs& args) override;

 private:
  void need(int64_t floats);

  const ScratchTerms terms_;
  int64_t floats_ = 0;
  std::set<const WeightView*> banks_;  // of experts, by where their views are
  int64_t tables_bytes_ = 0;
};

}  // namespace ferry::cuda
