// PlanStream: a stream that computes nothing and writes down what a forward asks for. One run of a
// model's own forward over it answers three questions before any memory is taken:
//   - which ops, formats and shapes must the backend have?      queries(), check_support()
//   - how much workspace does a forward need?   with a measuring Workspace (device/workspace.h)
//   - how many FLOPs and bytes does a step cost?                cost(), total()
// That of a chip (Backend::create_plan_stream()) answers a fourth:
//   - what will ops take of device memory for themselves?       scratch_bytes(), tables_bytes()
//
// Fused ops are counted as such, with the cost of their composite and its workspace. Addresses are
// never followed; of the batch only the shapes and the host arrays are read. Where the host arrays
// of lengths are absent, every sequence is taken to be as long as the longest.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "device/backend.h"

namespace ferry {

struct OpCost {
  int64_t calls = 0;
  double flops = 0;              // a multiply-add is two
  int64_t weight_bytes = 0;      // as stored, scales included; each matrix once a call
  int64_t activation_bytes = 0;  // read and written
  int64_t cache_bytes = 0;       // KV pages read and written, each once a call

  OpCost& operator+=(const OpCost& other);
};

class PlanStream : public Stream {
 public:
  // Every distinct question, in the order of first asking.
  std::span<const OpQuery> queries() const { return queries_; }
  const OpCost& cost(Op op) const { return costs_[static_cast<int>(op)]; }
  OpCost total() const;

  // Scratch of one stream, whichever of these ops it computes, for as many tokens as they had or
  // fewer, of sequences as long as the longest or shorter: for Stream::reserve_scratch().
  virtual int64_t scratch_bytes() const { return 0; }
  // What ops keep besides, from when they first run.
  virtual int64_t tables_bytes() const { return 0; }

  void copy_in(void*, const void*, int64_t) override {}
  void copy_out(void*, const void*, int64_t) override {}
  void fill_zero(void*, int64_t) override {}
  Event record() override { return {}; }
  void wait(const Event&) override {}
  Status synchronize() override { return {}; }

  void embed(const EmbedArgs& args) override;
  void rms_norm(const RmsNormArgs& args) override;
  void layer_norm(const LayerNormArgs& args) override;
  void matmul(const MatmulArgs& args) override;
  void rope(const RopeArgs& args) override;
  void kv_write(const KvWriteArgs& args) override;
  void gqa_attention(const GqaAttentionArgs& args) override;
  void per_head_matmul(const PerHeadMatmulArgs& args) override;
  void mla_prefill_attention(const MlaPrefillAttentionArgs& args) override;
  void mla_decode_attention(const MlaDecodeAttentionArgs& args) override;
  void index_scores(const IndexScoresArgs& args) override;
  void index_top_k(const IndexTopKArgs& args) override;
  void mla_sparse_attention(const MlaSparseAttentionArgs& args) override;
  void swiglu(const SwigluArgs& args) override;
  void moe_gate(const MoeGateArgs& args) override;
  void moe_permute(const MoePermuteArgs& args) override;
  // Bytes of weights are those of the experts that uniform routing would touch.
  void grouped_matmul(const GroupedMatmulArgs& args) override;
  void moe_combine(const MoeCombineArgs& args) override;
  void gather_rows(const GatherRowsArgs& args) override;
  void add(const AddArgs& args) override;
  void copy(const CopyArgs& args) override;
  void add_rms_norm(const AddRmsNormArgs& args) override;
  void moe_experts(const MoeExpertsArgs& args) override;
  void hyper_collapse(const HyperCollapseArgs& args) override;
  void hyper_expand(const HyperExpandArgs& args) override;
  void compress(const CompressArgs& args) override;
  void entry_scores(const EntryScoresArgs& args) override;
  void window_attention(const WindowAttentionArgs& args) override;
  void moe_hash_gate(const MoeHashGateArgs& args) override;
  void clamped_swiglu(const ClampedSwigluArgs& args) override;
  void top_logits(const TopLogitsArgs& args) override;

 private:
  void ask(const OpQuery& query);
  void ask_weight(Op op, const WeightView& weight);
  void charge(Op op, const OpCost& cost);

  std::vector<OpQuery> queries_;
  std::array<OpCost, kNumOps> costs_{};
  // While a composite runs for its cost: the fused op that its parts are charged to.
  bool inside_fused_ = false;
  Op fused_ = Op::kEmbed;
};

// ok, or one line that names every op (with its format and shape) that the backend lacks.
Status check_support(const Backend& backend, std::span<const OpQuery> queries);

// "matmul Q4_K [576 x 2048]": for messages.
std::string describe(const OpQuery& query);

}  // namespace ferry
