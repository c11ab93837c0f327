// The reference ops: plain scalar f32, one function per op of device/ops.h, run at once on the
// calling thread. They are the specification that every other backend is checked against, so they
// are written to be read beside the formula, not to be fast.
//
// Each output element is one sum in ascending order of its index, and depends on nothing but its
// own row: results never depend on what else is in the batch. Scratch belongs to the call.
#pragma once

#include "device/ops.h"

namespace ferry::reference {

void embed(const EmbedArgs& args);
void rms_norm(const RmsNormArgs& args);
void layer_norm(const LayerNormArgs& args);
void matmul(const MatmulArgs& args);
void rope(const RopeArgs& args);
void kv_write(const KvWriteArgs& args);
void gqa_attention(const GqaAttentionArgs& args);
void per_head_matmul(const PerHeadMatmulArgs& args);
void mla_prefill_attention(const MlaPrefillAttentionArgs& args);
void mla_decode_attention(const MlaDecodeAttentionArgs& args);
void index_scores(const IndexScoresArgs& args);
void index_top_k(const IndexTopKArgs& args);
void mla_sparse_attention(const MlaSparseAttentionArgs& args);
void swiglu(const SwigluArgs& args);
void moe_gate(const MoeGateArgs& args);
void moe_permute(const MoePermuteArgs& args);
void grouped_matmul(const GroupedMatmulArgs& args);
void moe_combine(const MoeCombineArgs& args);
void gather_rows(const GatherRowsArgs& args);
void add(const AddArgs& args);
void copy(const CopyArgs& args);

}  // namespace ferry::reference
