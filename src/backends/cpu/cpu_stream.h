// CpuStream: runs every op at once, on the calling thread and the backend's team. Work is split
// over output rows, tokens and heads, never over a sum, so that the number of threads and what else
// is in the batch never change a bit of the result.
//
//   stream_rows.cc       row by row: norm, rope, add, copies, ...
//   stream_matmul.cc     matmul, grouped and per-head matmul, embed
//   stream_moe.cc        gate, permute, combine, the fused experts
//   stream_attention.cc  attention of prompts over the paged cache
//   stream_decode.cc     attention of generated tokens, and over chosen positions
//   stream_index.cc      the indexer that chooses them
//   stream_v4.cc         what DeepSeek-V4 has besides
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "backends/cpu/context.h"
#include "device/backend.h"

namespace ferry::cpu {

// One product X Wᵀ of a job that may have many (experts, heads).
struct MatmulPart {
  WeightRows w;
  int64_t first_row = 0;
  int64_t rows = 0;
  const float* x = nullptr;
  int64_t x_stride = 0;
  const int32_t* x_index = nullptr;  // token t uses row x_index[t] of x; nullptr: row t
  int64_t tokens = 0;
  const float* bias = nullptr;
  float* out = nullptr;
  int64_t out_stride = 0;
  int64_t x_rows = 0;               // rows of x that x_index may name; tokens without one
  const uint8_t* form_x = nullptr;  // [tokens] rows in the form that the weights have, if any
  ColdWeight* cold = nullptr;       // w has data only while this is hot; nullptr: always
};

// Decode attention of both kinds in one form. Keys and values of KV head h are the columns from
// h · key_size and h · value_size of their pages; without v_pages a value is the first part of its
// key. A query is a row of q, then one of q_tail where there is one.
struct DecodeForm {
  const BatchView* batch = nullptr;
  int64_t first_sequence = 0;
  int64_t num_sequences = 0;
  TensorView q, q_tail;  // [T, H, ·], together key_size
  const TensorView* k_pages = nullptr;
  const TensorView* v_pages = nullptr;
  int64_t num_kv_heads = 0;
  int64_t key_size = 0;
  int64_t value_size = 0;
  float scale = 0;
  int64_t max_keys = kAllKeys;  // tokens that see more are left out
  // Sparse attention: i32 [T, K], the keys of each token that sees more than K; the others are left
  // out. Rows of q, positions and out are then those of `first_token` and the tokens behind it.
  const TensorView* positions = nullptr;
  int64_t first_token = 0;
  TensorView out;  // [T, H, value_size]
};

// Rows of activations that some parts of a job share, and where they go in the form that kernels
// want. With an index they are copies of rows of another source, one behind the other.
struct FormSource {
  const float* x;
  int64_t stride, cols, rows;
  const RowForm* form;
  const int32_t* index = nullptr;  // [rows], of rows of the source at `from`; nullptr: rows of x
  int64_t from = 0;                // in bytes, like offset
  int64_t offset = 0;
};

class CpuStream : public Stream {
 public:
  explicit CpuStream(std::shared_ptr<CpuContext> context)
      : context_(std::move(context)),
        kernels_(context_->kernels()),
        team_(context_->team()),
        scratch_(team_.size()) {}

  void copy_in(void* dst, const void* src, int64_t bytes) override { copy_bytes(dst, src, bytes); }
  void copy_out(void* dst, const void* src, int64_t bytes) override { copy_bytes(dst, src, bytes); }
  void fill_zero(void* dst, int64_t bytes) override {
    if (bytes > 0) std::memset(dst, 0, static_cast<size_t>(bytes));
  }

  // Nothing is ever pending, so an event has already happened when it is recorded.
  Event record() override { return {}; }
  void wait(const Event&) override {}
  Status synchronize() override { return status_; }

  void embed(const EmbedArgs& args) override;
  void rms_norm(const RmsNormArgs& args) override;
  void layer_norm(const LayerNormArgs& args) override;
  void matmul(const MatmulArgs& args) override;
  void matmuls(std::span<const MatmulArgs> products) override;
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
  void expect_experts(const ExpectExpertsArgs& args) override;
  void hyper_collapse(const HyperCollapseArgs& args) override;
  void hyper_expand(const HyperExpandArgs& args) override;
  void compress(const CompressArgs& args) override;
  void entry_scores(const EntryScoresArgs& args) override;
  void window_attention(const WindowAttentionArgs& args) override;
  void moe_hash_gate(const MoeHashGateArgs& args) override;
  void clamped_swiglu(const ClampedSwigluArgs& args) override;
  void top_logits(const TopLogitsArgs& args) override;

 private:
  static void copy_bytes(void* dst, const void* src, int64_t bytes) {
    if (bytes > 0) std::memcpy(dst, src, static_cast<size_t>(bytes));
  }

  // fn(begin, end, thread) over `num_tasks` tasks of about `cost` element operations each; jobs
  // that are over sooner than another thread could join stay on the caller.
  template <typename Fn>
  void parallel(int64_t num_tasks, int64_t cost, Fn&& fn) {
    constexpr int64_t kCostMin = 1 << 15;
    const int64_t worthwhile = kCostMin / std::max<int64_t>(cost, 1);
    const int64_t share = num_tasks / (int64_t{8} * team_.size());
    team_.parallel_for(num_tasks, std::max<int64_t>({worthwhile, share, 1}), fn);
  }

  void run_matmuls(std::span<MatmulPart> parts);
  HotReads reads_of_parts() const;
  void run_parts(HotReads& reads, size_t begin, size_t end);
  void form_inputs(std::span<MatmulPart> parts);
  const FormSource& form_source(const FormSource& wanted, int64_t& bytes);
  void run_matmul_block(const MatmulPart& part, int64_t row_block, int64_t block_rows,
                        int64_t token_block, float* scratch);
  void add_expert_parts(const TensorView& x, const int32_t* x_index, const int32_t* offsets,
                        std::span<const WeightView> experts, const TensorView& out);
  void per_head_by_columns(const PerHeadMatmulArgs& args);
  void attend_decode(const DecodeForm& form);
  // What attention of prompts over pages of this dtype multiplies with; nullptr: in f32.
  const Bf16Kernels* bf16_for(Dtype dtype) const;

  std::shared_ptr<CpuContext> context_;
  const Kernels& kernels_;
  ThreadTeam& team_;
  TeamScratch scratch_;
  TeamScratch partials_{1};           // results of ranges of keys, until they are folded together
  Status status_;                     // of what had to be read
  std::vector<MatmulPart> parts_;     // of the op that is running
  std::vector<MatmulPart> there_;     // of these, some whose weights are in memory
  std::vector<int64_t> part_starts_;  // first task of each part
  std::vector<FormSource> form_sources_;
  std::vector<uint8_t> form_rows_;  // activations of the op in these forms
};

// First element of x[i, ·] or x[i, j, ·].
template <typename T = float>
T* row_of(const TensorView& x, int64_t i) {
  return static_cast<T*>(x.data) + i * x.stride[0];
}
template <typename T = float>
T* row_of(const TensorView& x, int64_t i, int64_t j) {
  return static_cast<T*>(x.data) + i * x.stride[0] + j * x.stride[1];
}

// What the ops promise each other about a view. Indices are always contiguous vectors or rows.
inline void check_view(const TensorView& x, Dtype dtype, int rank) {
  CHECK(x.dtype == dtype && x.rank == rank);
  CHECK(x.stride[rank - 1] == 1 || x.shape[rank - 1] <= 1);
}

// Rows of a view of rank 2 or 3, counted through.
struct RowView {
  explicit RowView(const TensorView& x) : view(x) {
    CHECK(x.dtype == Dtype::kF32 && x.rank >= 1 && x.rank <= kMaxRank);
    size = x.shape[x.rank - 1];
    CHECK(x.stride[x.rank - 1] == 1 || size <= 1);
    for (int dim = 0; dim + 1 < x.rank; ++dim) count *= x.shape[dim];
  }
  float* operator[](int64_t row) const {
    int64_t offset = 0;
    for (int dim = view.rank - 2; dim > 0; --dim) {
      offset += row % view.shape[dim] * view.stride[dim];
      row /= view.shape[dim];
    }
    if (view.rank > 1) offset += row * view.stride[0];
    return static_cast<float*>(view.data) + offset;
  }
  const TensorView& view;
  int64_t size = 0;
  int64_t count = 1;
};

inline bool same_shape(const TensorView& a, const TensorView& b) {
  bool same = a.rank == b.rank;
  for (int dim = 0; same && dim < a.rank; ++dim) same = a.shape[dim] == b.shape[dim];
  return same;
}

}  // namespace ferry::cpu
