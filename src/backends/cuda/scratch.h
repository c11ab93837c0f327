// Scratch memory: the most that a call of an op may take of its stream, for the plan of memory.
// Each stands beside its op (ops_*.cc) and counts by the same rules. Weights may come from a loader
// without data: only their formats and shapes are read. Of tokens there may be fewer than the
// arguments have, and sequences may be shorter than the longest.
#pragma once

#include "device/ops.h"

namespace ferry::cuda {

struct ScratchTerms {
  int64_t multiprocessors;
  bool f32_products;
  bool has_library;  // cuBLASLt
};

// In numbers of 4 bytes.
int64_t most_product_floats(const MatmulArgs& args, const ScratchTerms& terms);
int64_t most_gqa_floats(const GqaAttentionArgs& args, const ScratchTerms& terms);
int64_t most_mla_prefill_floats(const MlaPrefillAttentionArgs& args, const ScratchTerms& terms);
int64_t most_mla_decode_floats(const MlaDecodeAttentionArgs& args, const ScratchTerms& terms);
int64_t most_mla_sparse_floats(const MlaSparseAttentionArgs& args, const ScratchTerms& terms);
// Of tokens that are computed absorbed, by themselves.
int64_t absorbed_floats(int64_t tokens, int64_t heads, int64_t rank);
int64_t most_top_logits_floats(const TopLogitsArgs& args);

}  // namespace ferry::cuda
