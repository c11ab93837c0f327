// WatchedStream: see watched_stream.h.
#include "device/watched_stream.h"

#include <vector>

namespace ferry {

template <typename Args>
void WatchedStream::pass_on(Op op, void (Stream::*method)(const Args&), const Args& args,
                            std::initializer_list<TensorView Args::*> outputs) {
  std::vector<TensorView> written;
  for (TensorView Args::*output : outputs) {
    if (!(args.*output).empty()) written.push_back(args.*output);
  }
  on_op(
      op, [method, &args](Stream& stream) { (stream.*method)(args); }, written);
}

void WatchedStream::embed(const EmbedArgs& args) {
  pass_on(Op::kEmbed, &Stream::embed, args, {&EmbedArgs::out});
}
void WatchedStream::rms_norm(const RmsNormArgs& args) {
  pass_on(Op::kRmsNorm, &Stream::rms_norm, args, {&RmsNormArgs::out});
}
void WatchedStream::layer_norm(const LayerNormArgs& args) {
  pass_on(Op::kLayerNorm, &Stream::layer_norm, args, {&LayerNormArgs::out});
}
void WatchedStream::matmul(const MatmulArgs& args) {
  pass_on(Op::kMatmul, &Stream::matmul, args, {&MatmulArgs::out});
}
void WatchedStream::rope(const RopeArgs& args) {
  pass_on(Op::kRope, &Stream::rope, args, {&RopeArgs::x});
}
void WatchedStream::kv_write(const KvWriteArgs& args) {
  pass_on(Op::kKvWrite, &Stream::kv_write, args, {&KvWriteArgs::pages});
}
void WatchedStream::gqa_attention(const GqaAttentionArgs& args) {
  pass_on(Op::kGqaAttention, &Stream::gqa_attention, args, {&GqaAttentionArgs::out});
}
void WatchedStream::per_head_matmul(const PerHeadMatmulArgs& args) {
  pass_on(Op::kPerHeadMatmul, &Stream::per_head_matmul, args, {&PerHeadMatmulArgs::out});
}
void WatchedStream::mla_prefill_attention(const MlaPrefillAttentionArgs& args) {
  pass_on(Op::kMlaPrefillAttention, &Stream::mla_prefill_attention, args,
          {&MlaPrefillAttentionArgs::out});
}
void WatchedStream::mla_decode_attention(const MlaDecodeAttentionArgs& args) {
  pass_on(Op::kMlaDecodeAttention, &Stream::mla_decode_attention, args,
          {&MlaDecodeAttentionArgs::out});
}
void WatchedStream::index_scores(const IndexScoresArgs& args) {
  pass_on(Op::kIndexScores, &Stream::index_scores, args, {&IndexScoresArgs::out});
}
void WatchedStream::index_top_k(const IndexTopKArgs& args) {
  pass_on(Op::kIndexTopK, &Stream::index_top_k, args, {&IndexTopKArgs::out});
}
void WatchedStream::mla_sparse_attention(const MlaSparseAttentionArgs& args) {
  pass_on(Op::kMlaSparseAttention, &Stream::mla_sparse_attention, args,
          {&MlaSparseAttentionArgs::out});
}
void WatchedStream::swiglu(const SwigluArgs& args) {
  pass_on(Op::kSwiglu, &Stream::swiglu, args, {&SwigluArgs::out});
}
void WatchedStream::moe_gate(const MoeGateArgs& args) {
  pass_on(Op::kMoeGate, &Stream::moe_gate, args, {&MoeGateArgs::ids, &MoeGateArgs::weights});
}
void WatchedStream::moe_permute(const MoePermuteArgs& args) {
  pass_on(Op::kMoePermute, &Stream::moe_permute, args,
          {&MoePermuteArgs::token_of_row, &MoePermuteArgs::row_of_choice,
           &MoePermuteArgs::expert_offsets});
}
void WatchedStream::grouped_matmul(const GroupedMatmulArgs& args) {
  pass_on(Op::kGroupedMatmul, &Stream::grouped_matmul, args, {&GroupedMatmulArgs::out});
}
void WatchedStream::moe_combine(const MoeCombineArgs& args) {
  pass_on(Op::kMoeCombine, &Stream::moe_combine, args, {&MoeCombineArgs::out});
}
void WatchedStream::gather_rows(const GatherRowsArgs& args) {
  pass_on(Op::kGatherRows, &Stream::gather_rows, args, {&GatherRowsArgs::out});
}
void WatchedStream::add(const AddArgs& args) {
  pass_on(Op::kAdd, &Stream::add, args, {&AddArgs::out});
}
void WatchedStream::copy(const CopyArgs& args) {
  pass_on(Op::kCopy, &Stream::copy, args, {&CopyArgs::out});
}
void WatchedStream::add_rms_norm(const AddRmsNormArgs& args) {
  pass_on(Op::kAddRmsNorm, &Stream::add_rms_norm, args,
          {&AddRmsNormArgs::residual, &AddRmsNormArgs::out});
}
void WatchedStream::moe_experts(const MoeExpertsArgs& args) {
  pass_on(Op::kMoeExperts, &Stream::moe_experts, args, {&MoeExpertsArgs::out});
}
void WatchedStream::hyper_collapse(const HyperCollapseArgs& args) {
  pass_on(Op::kHyperCollapse, &Stream::hyper_collapse, args,
          {&HyperCollapseArgs::out, &HyperCollapseArgs::gates});
}
void WatchedStream::hyper_expand(const HyperExpandArgs& args) {
  pass_on(Op::kHyperExpand, &Stream::hyper_expand, args, {&HyperExpandArgs::streams});
}
void WatchedStream::compress(const CompressArgs& args) {
  pass_on(Op::kCompress, &Stream::compress, args, {&CompressArgs::pages});
}
void WatchedStream::entry_scores(const EntryScoresArgs& args) {
  pass_on(Op::kEntryScores, &Stream::entry_scores, args, {&EntryScoresArgs::out});
}
void WatchedStream::window_attention(const WindowAttentionArgs& args) {
  pass_on(Op::kWindowAttention, &Stream::window_attention, args, {&WindowAttentionArgs::out});
}
void WatchedStream::moe_hash_gate(const MoeHashGateArgs& args) {
  pass_on(Op::kMoeHashGate, &Stream::moe_hash_gate, args,
          {&MoeHashGateArgs::ids, &MoeHashGateArgs::weights});
}
void WatchedStream::clamped_swiglu(const ClampedSwigluArgs& args) {
  pass_on(Op::kClampedSwiglu, &Stream::clamped_swiglu, args, {&ClampedSwigluArgs::out});
}
void WatchedStream::top_logits(const TopLogitsArgs& args) {
  pass_on(Op::kTopLogits, &Stream::top_logits, args, {&TopLogitsArgs::values, &TopLogitsArgs::ids});
}

}  // namespace ferry
