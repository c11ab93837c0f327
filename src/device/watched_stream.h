// WatchedStream: a stream that passes every op on to another one, one at a time, and lets what is
// derived from it look: at the op, at what it writes, and how to run it again on any stream. Fused
// ops are passed on as such.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>

#include "device/backend.h"

namespace ferry {

class WatchedStream : public Stream {
 public:
  explicit WatchedStream(std::unique_ptr<Stream> inner) : inner_(std::move(inner)) {}

  void copy_in(void* device_dst, const void* host_src, int64_t bytes) override {
    inner_->copy_in(device_dst, host_src, bytes);
  }
  void copy_out(void* host_dst, const void* device_src, int64_t bytes) override {
    inner_->copy_out(host_dst, device_src, bytes);
  }
  void fill_zero(void* device_dst, int64_t bytes) override { inner_->fill_zero(device_dst, bytes); }
  Event record() override { return inner_->record(); }
  void wait(const Event& event) override { inner_->wait(event); }
  Status reserve_scratch(int64_t bytes) override { return inner_->reserve_scratch(bytes); }
  // The first error of any op that was waited for in between, too: it sticks in the inner stream.
  Status synchronize() override { return inner_->synchronize(); }

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
  void grouped_matmul(const GroupedMatmulArgs& args) override;
  void moe_combine(const MoeCombineArgs& args) override;
  void gather_rows(const GatherRowsArgs& args) override;
  void add(const AddArgs& args) override;
  void copy(const CopyArgs& args) override;
  void add_rms_norm(const AddRmsNormArgs& args) override;
  void moe_experts(const MoeExpertsArgs& args) override;
  void expect_experts(const ExpectExpertsArgs& args) override { inner_->expect_experts(args); }
  void hyper_collapse(const HyperCollapseArgs& args) override;
  void hyper_expand(const HyperExpandArgs& args) override;
  void compress(const CompressArgs& args) override;
  void entry_scores(const EntryScoresArgs& args) override;
  void window_attention(const WindowAttentionArgs& args) override;
  void moe_hash_gate(const MoeHashGateArgs& args) override;
  void clamped_swiglu(const ClampedSwigluArgs& args) override;
  void top_logits(const TopLogitsArgs& args) override;

 protected:
  using Call = std::function<void(Stream&)>;
  // What to do for an op: normally call(inner()), and something before and after. `outputs` are the
  // tensors that it writes, in the order of its arguments; the empty ones are left out.
  virtual void on_op(Op op, const Call& call, std::span<const TensorView> outputs) = 0;
  Stream& inner() { return *inner_; }

 private:
  template <typename Args>
  void pass_on(Op op, void (Stream::*method)(const Args&), const Args& args,
               std::initializer_list<TensorView Args::*> outputs);

  std::unique_ptr<Stream> inner_;
};

}  // namespace ferry
