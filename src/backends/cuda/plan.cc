// See plan.h.
#include "backends/cuda/plan.h"

#include <algorithm>

#include "backends/cuda/kernels/params.h"
#include "device/memory_pool.h"

namespace ferry::cuda {

void CudaPlan::need(int64_t floats) { floats_ = std::max(floats_, floats); }

int64_t CudaPlan::scratch_bytes() const { return floats_ * static_cast<int64_t>(sizeof(float)); }

void CudaPlan::matmul(const MatmulArgs& args) {
  PlanStream::matmul(args);
  need(most_product_floats(args, terms_));
}

void CudaPlan::gqa_attention(const GqaAttentionArgs& args) {
  PlanStream::gqa_attention(args);
  need(most_gqa_floats(args, terms_));
}

void CudaPlan::mla_prefill_attention(const MlaPrefillAttentionArgs& args) {
  PlanStream::mla_prefill_attention(args);
  need(most_mla_prefill_floats(args, terms_));
}

void CudaPlan::mla_decode_attention(const MlaDecodeAttentionArgs& args) {
  PlanStream::mla_decode_attention(args);
  need(most_mla_decode_floats(args, terms_));
}

void CudaPlan::mla_sparse_attention(const MlaSparseAttentionArgs& args) {
  PlanStream::mla_sparse_attention(args);
  need(most_mla_sparse_floats(args, terms_));
}

void CudaPlan::grouped_matmul(const GroupedMatmulArgs& args) {
  PlanStream::grouped_matmul(args);
  if (!banks_.insert(args.experts.data()).second) return;
  tables_bytes_ +=
      MemoryPool::piece_bytes(static_cast<int64_t>(args.experts.size() * sizeof(WeightParam)));
}

void CudaPlan::top_logits(const TopLogitsArgs& args) {
  PlanStream::top_logits(args);
  need(most_top_logits_floats(args));
}

}  // namespace ferry::cuda
