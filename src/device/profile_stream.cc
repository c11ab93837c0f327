// ProfileStream: see profile_stream.h.
#include "device/profile_stream.h"

#include <set>
#include <vector>

#include "base/checked_math.h"

namespace ferry {
namespace {

int64_t stored_bytes(const WeightView& w) {
  int64_t bytes = w.format->bytes_for(w.rows * w.cols);
  if (w.scale_rows > 0) {
    bytes += ceil_div(w.rows, w.scale_rows) * ceil_div(w.cols, w.scale_cols) * 4;
  }
  return bytes;
}

// What one call costs by the plan. A stream of its own for each, so that no list grows.
template <typename Args>
OpCost planned(Op op, void (Stream::*method)(const Args&), const Args& args) {
  PlanStream plan;
  (plan.*method)(args);
  return plan.cost(op);
}

}  // namespace

OpProfile ProfileStream::total() const {
  OpProfile sum;
  for (const OpProfile& profile : profiles_) {
    sum.cost += profile.cost;
    sum.seconds += profile.seconds;
  }
  return sum;
}

template <typename Args>
void ProfileStream::pass_on(Op op, void (Stream::*method)(const Args&), const Args& args,
                            OpCost cost) {
  using Clock = std::chrono::steady_clock;
  // What is queued before (copies) is nobody's time. Errors stick and come out at the end.
  static_cast<void>(inner_->synchronize());
  const auto start = Clock::now();
  (inner_.get()->*method)(args);
  static_cast<void>(inner_->synchronize());
  OpProfile& profile = profiles_[static_cast<size_t>(op)];
  profile.seconds += std::chrono::duration<double>(Clock::now() - start).count();
  profile.cost += cost;
}

template <typename Args>
void ProfileStream::pass_on(Op op, void (Stream::*method)(const Args&), const Args& args) {
  pass_on(op, method, args, planned(op, method, args));
}

void ProfileStream::embed(const EmbedArgs& args) { pass_on(Op::kEmbed, &Stream::embed, args); }
void ProfileStream::rms_norm(const RmsNormArgs& args) {
  pass_on(Op::kRmsNorm, &Stream::rms_norm, args);
}
void ProfileStream::layer_norm(const LayerNormArgs& args) {
  pass_on(Op::kLayerNorm, &Stream::layer_norm, args);
}
void ProfileStream::matmul(const MatmulArgs& args) { pass_on(Op::kMatmul, &Stream::matmul, args); }
void ProfileStream::rope(const RopeArgs& args) { pass_on(Op::kRope, &Stream::rope, args); }
void ProfileStream::kv_write(const KvWriteArgs& args) {
  pass_on(Op::kKvWrite, &Stream::kv_write, args);
}
void ProfileStream::gqa_attention(const GqaAttentionArgs& args) {
  pass_on(Op::kGqaAttention, &Stream::gqa_attention, args);
}
void ProfileStream::per_head_matmul(const PerHeadMatmulArgs& args) {
  pass_on(Op::kPerHeadMatmul, &Stream::per_head_matmul, args);
}
void ProfileStream::mla_prefill_attention(const MlaPrefillAttentionArgs& args) {
  pass_on(Op::kMlaPrefillAttention, &Stream::mla_prefill_attention, args);
}
void ProfileStream::mla_decode_attention(const MlaDecodeAttentionArgs& args) {
  pass_on(Op::kMlaDecodeAttention, &Stream::mla_decode_attention, args);
}
void ProfileStream::index_scores(const IndexScoresArgs& args) {
  pass_on(Op::kIndexScores, &Stream::index_scores, args);
}
void ProfileStream::index_top_k(const IndexTopKArgs& args) {
  pass_on(Op::kIndexTopK, &Stream::index_top_k, args);
}
void ProfileStream::mla_sparse_attention(const MlaSparseAttentionArgs& args) {
  pass_on(Op::kMlaSparseAttention, &Stream::mla_sparse_attention, args);
}
void ProfileStream::swiglu(const SwigluArgs& args) { pass_on(Op::kSwiglu, &Stream::swiglu, args); }
void ProfileStream::moe_gate(const MoeGateArgs& args) {
  pass_on(Op::kMoeGate, &Stream::moe_gate, args);
}
void ProfileStream::moe_permute(const MoePermuteArgs& args) {
  pass_on(Op::kMoePermute, &Stream::moe_permute, args);
}
void ProfileStream::grouped_matmul(const GroupedMatmulArgs& args) {
  pass_on(Op::kGroupedMatmul, &Stream::grouped_matmul, args);
}
void ProfileStream::moe_combine(const MoeCombineArgs& args) {
  pass_on(Op::kMoeCombine, &Stream::moe_combine, args);
}
void ProfileStream::gather_rows(const GatherRowsArgs& args) {
  pass_on(Op::kGatherRows, &Stream::gather_rows, args);
}
void ProfileStream::add(const AddArgs& args) { pass_on(Op::kAdd, &Stream::add, args); }
void ProfileStream::copy(const CopyArgs& args) { pass_on(Op::kCopy, &Stream::copy, args); }
void ProfileStream::argmax(const ArgmaxArgs& args) { pass_on(Op::kArgmax, &Stream::argmax, args); }
void ProfileStream::add_rms_norm(const AddRmsNormArgs& args) {
  pass_on(Op::kAddRmsNorm, &Stream::add_rms_norm, args);
}
void ProfileStream::hyper_collapse(const HyperCollapseArgs& args) {
  pass_on(Op::kHyperCollapse, &Stream::hyper_collapse, args);
}
void ProfileStream::hyper_expand(const HyperExpandArgs& args) {
  pass_on(Op::kHyperExpand, &Stream::hyper_expand, args);
}
void ProfileStream::compress(const CompressArgs& args) {
  pass_on(Op::kCompress, &Stream::compress, args);
}
void ProfileStream::entry_scores(const EntryScoresArgs& args) {
  pass_on(Op::kEntryScores, &Stream::entry_scores, args);
}
void ProfileStream::window_attention(const WindowAttentionArgs& args) {
  pass_on(Op::kWindowAttention, &Stream::window_attention, args);
}
void ProfileStream::moe_hash_gate(const MoeHashGateArgs& args) {
  pass_on(Op::kMoeHashGate, &Stream::moe_hash_gate, args);
}
void ProfileStream::clamped_swiglu(const ClampedSwigluArgs& args) {
  pass_on(Op::kClampedSwiglu, &Stream::clamped_swiglu, args);
}

int64_t ProfileStream::count_chosen_experts(const MoeExpertsArgs& args) {
  const int64_t tokens = args.ids.shape[0];
  const int64_t top_k = args.ids.shape[1];
  std::vector<int32_t> ids(static_cast<size_t>(tokens * top_k));
  for (int64_t t = 0; t < tokens; ++t) {
    inner_->copy_out(ids.data() + t * top_k, args.ids.slice(0, t, 1).data,
                     top_k * static_cast<int64_t>(sizeof(int32_t)));
  }
  static_cast<void>(inner_->synchronize());
  return static_cast<int64_t>(std::set<int32_t>(ids.begin(), ids.end()).size());
}

void ProfileStream::moe_experts(const MoeExpertsArgs& args) {
  OpCost cost = planned(Op::kMoeExperts, &Stream::moe_experts, args);
  int64_t expert_bytes = 0;
  for (const auto& experts : {args.gate, args.up, args.down}) {
    expert_bytes += stored_bytes(experts[0]);
  }
  cost.weight_bytes = count_chosen_experts(args) * expert_bytes;
  pass_on(Op::kMoeExperts, &Stream::moe_experts, args, cost);
}

}  // namespace ferry
