// FarStream: the queue of the far backend. A call checks its arguments, takes checksums of the host
// memory that the contract says will not change, and leaves a task.
#pragma once

#include <deque>
#include <functional>
#include <initializer_list>
#include <vector>

#include "far/far_memory.h"

namespace ferry::far {

// Host bytes that must be the same when the task runs as when it was queued.
struct Watched {
  const void* data;
  size_t bytes;
  uint64_t checksum;
};

struct Task {
  std::string_view name;
  std::vector<Watched> watched;
  std::function<void(Stream& reference)> run;
};

// The tasks of one stream; events keep it alive behind the stream's back.
struct Queue {
  std::shared_ptr<FarMemory> memory;
  std::unique_ptr<Stream> reference;  // does the work
  std::deque<Task> tasks;
  int64_t num_done = 0;  // tasks[0] is task number num_done
  Status status;

  // Runs tasks up to, not including, task number `end`.
  void run_until(int64_t end);
  void fail(std::string_view where, std::string_view what);
};

class FarStream : public Stream {
 public:
  FarStream(std::shared_ptr<FarMemory> memory, std::unique_ptr<Stream> reference);

  void copy_in(void* device_dst, const void* host_src, int64_t bytes) override;
  void copy_out(void* host_dst, const void* device_src, int64_t bytes) override;
  void fill_zero(void* device_dst, int64_t bytes) override;
  Event record() override;
  void wait(const Event& event) override;
  Status synchronize() override;

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
  void top_logits(const TopLogitsArgs& args) override;

 private:
  void submit(Task task);
  // An op over these tensors and weights.
  void submit_op(Op op, std::initializer_list<TensorView> tensors,
                 std::initializer_list<WeightView> weights,
                 std::function<void(Stream& reference)> run);
  // An op that also gets a batch: `run` is given a copy of it.
  template <typename Args>
  void submit_attention(Op op, const Args& args, std::initializer_list<TensorView> tensors,
                        std::initializer_list<WeightView> weights,
                        void (Stream::*method)(const Args&));
  void check_device(std::string_view name, const void* data, int64_t bytes);
  void check_weight(std::string_view name, const WeightView& weight);

  std::shared_ptr<Queue> queue_;
};

}  // namespace ferry::far
