// What the f32 and the bf16 form of attention of prompt tokens share. The f32 form is in
// stream_attention.cc, where it is also said how the work is cut; the bf16 form is in
// prefill_bf16.cc.
#pragma once

#include "backends/cpu/paged_rows.h"

namespace ferry::cpu {

inline constexpr int64_t kQueryRows = 48;  // a multiple of every register tile
inline constexpr int64_t kTriangleRows = 6;
inline constexpr int64_t kGqaRowsMost = 240;  // of a task; its state still fits into L2

// The state of a group of queries that go through the tiles together.
struct QueryRows {
  float* scores = nullptr;   // [rows, kKeyTile]
  float* largest = nullptr;  // [rows]
  float* sum = nullptr;      // [rows]
  float* out = nullptr;      // [rows, size], out_stride apart
  int64_t out_stride = 0;
  int64_t size = 0;
  float scale = 0;
};

// Row r of them, which sees the first `num_keys` of the tile.
inline SoftmaxRow softmax_row_of(const QueryRows& rows, int64_t r, int64_t num_keys, bool first) {
  return {.scores = rows.scores + r * kKeyTile,
          .num_keys = num_keys,
          .scale = rows.scale,
          .first = first,
          .largest = rows.largest + r,
          .sum = rows.sum + r,
          .out = rows.out + r * rows.out_stride,
          .size = rows.size};
}

struct GqaTask {
  int64_t sequence, kv_head, first_token, num_tokens;
};

// Rows of a task are (token, query head of the group), tokens outermost.
struct GqaRows {
  int64_t size, group, count;

  GqaRows(const GqaAttentionArgs& args, const GqaTask& task)
      : size(args.q.shape[2]),
        group(args.q.shape[1] / args.num_kv_heads),
        count(task.num_tokens * group) {}
  // Of a view [T, H, size].
  float* row(const TensorView& x, const GqaTask& task, int64_t r) const {
    return row_of(x, task.first_token + r / group, task.kv_head * group + r % group);
  }
};

struct MlaShape {
  int64_t rank, rope, nope, value, width;

  explicit MlaShape(const MlaPrefillAttentionArgs& args)
      : rank(args.up_k.in_features()),
        rope(args.pages.shape[2] - rank),
        nope(args.up_k.out_features()),
        value(args.up_v.out_features()),
        width(args.pages.shape[2]) {
    CHECK(rope >= 0 && args.q.shape[2] == nope + rope && args.up_v.in_features() == rank);
    CHECK(args.out.shape[1] == args.q.shape[1] && args.out.shape[2] == value);
    CHECK(args.up_k.num_heads == args.q.shape[1] && args.up_v.num_heads == args.q.shape[1]);
  }
};

struct MlaWeights {
  WeightRows up_k, up_v;
};

struct MlaTask {
  int64_t sequence, head;
};

// Tokens of a sequence that are this op's: the last rows see most, and what sees more than
// `max_keys` is not.
inline int64_t mla_rows(const Tokens& tokens, int64_t max_keys) {
  const int64_t left_out = std::max<int64_t>(0, tokens.context_length - max_keys);
  return std::max<int64_t>(0, tokens.last - tokens.first - left_out);
}

// dst = the stored matrix of one head, or its transpose.
inline void decode_head(const Kernels& kernels, const WeightRows& w, const HeadMatrixView& u,
                        int64_t head, bool transpose, float* stage, float* dst) {
  const int64_t first_row = u.first_row + head * u.head_stride;
  kernels.decode_rows(w, first_row, u.rows, 0, u.cols, transpose ? stage : dst, u.cols);
  if (transpose) kernels.transpose(stage, u.cols, u.rows, u.cols, dst, u.rows);
}

struct PrefillKernels {
  const Kernels& f32;
  const Bf16Kernels& bf16;
  const Bf16Tiles* tiles = nullptr;  // multiply instead of bf16, where there are any

  void product(const Bf16Product& a) const {
    (tiles != nullptr ? tiles->product : bf16.product)(a);
  }
};

// The same tasks with products in bf16. REQUIRES: pages are bf16 or int8; pairs_fit()
bool pairs_fit(const GqaAttentionArgs& args);
int64_t gqa_bf16_floats(int64_t num_rows, int64_t size);
void run_gqa_task_bf16(const PrefillKernels& kernels, const GqaAttentionArgs& args,
                       const GqaTask& task, int64_t num_rows, float* scratch);

bool pairs_fit(const MlaShape& shape);
int64_t mla_bf16_floats(const MlaShape& shape, int64_t chunk);
void run_mla_task_bf16(const PrefillKernels& kernels, const MlaPrefillAttentionArgs& args,
                       const MlaWeights& weights, const MlaShape& shape, const MlaTask& task,
                       int64_t chunk, float* scratch);

}  // namespace ferry::cpu
