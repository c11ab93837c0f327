// Matmul body, compiled once per instruction set (include a vec_*.h first).
//
// Lane l of an output's accumulator sums the products of columns k ≡ l (mod kLanes) in ascending
// order; the lanes are then added in the fixed tree of vsum(). One row of x or a hundred, a full
// tile or a ragged one: every output goes through the same chain.
//
//   for each panel of columns (512 or so)
//     decode the panel of `rows` weight rows to f32            → scratch, L2
//     for each 6 tokens                                          their x stays in L1
//       for each 4 weight rows: 24 accumulators in registers   → scratch, between panels
#pragma once

#include "backends/cpu/kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

constexpr int64_t kPanelCols = 512;

// Columns decoded at a time: whole blocks and whole vectors (16 serves every instruction set).
inline int64_t panel_cols(const WeightRows& w) {
  int64_t cols = w.block_elements;
  while (cols < kPanelCols || cols % 16 != 0) cols += w.block_elements;
  return cols;
}

inline void decode_span(const WeightRows& w, int64_t row, int64_t first_col, int64_t cols,
                        float* dst) {
  const uint8_t* src = w.data + row * w.row_bytes + first_col / w.block_elements * w.block_bytes;
  if (w.decode == nullptr) {
    __builtin_memcpy(dst, src, static_cast<size_t>(cols) * sizeof(float));
  } else {
    w.decode(src, dst, cols / w.block_elements);
  }
  if (w.scale == nullptr) return;
  const float* grid = w.scale + row / w.scale_rows * w.scale_stride;
  for (int64_t k = 0; k < cols;) {
    const int64_t column = first_col + k;
    int64_t end = (column / w.scale_cols + 1) * w.scale_cols - first_col;
    if (end > cols) end = cols;
    const Vec factor = vset(grid[column / w.scale_cols]);
    for (; k + kLanes <= end; k += kLanes) vstore(dst + k, vmul(vload(dst + k), factor));
    if (k < end) {
      const int rest = static_cast<int>(end - k);
      vstore_first(dst + k, vmul(vload_first(dst + k, rest), factor), rest);
      k = end;
    }
  }
}

inline void decode_rows(const WeightRows& w, int64_t first_row, int64_t rows, int64_t first_col,
                        int64_t cols, float* dst, int64_t dst_stride) {
  for (int64_t i = 0; i < rows; ++i) {
    decode_span(w, first_row + i, first_col, cols, dst + i * dst_stride);
  }
}

// Adds columns [col, col + cols) of R weight rows × T tokens to their accumulators, which lie
// kLanes apart for neighbouring tokens and `acc_stride` floats apart for neighbouring rows.
template <int R, int T>
inline void dot_tile(const float* w, int64_t w_stride, const float* const* x, int64_t col,
                     int64_t cols, bool first, float* acc, int64_t acc_stride) {
  Vec sums[R][T];
  const float* row[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) row[t] = x[t] + col;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
      sums[r][t] = first ? vzero() : vload(acc + r * acc_stride + t * kLanes);
    }
  }
  int64_t k = 0;
  for (; k + kLanes <= cols; k += kLanes) {
    Vec values[T];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) values[t] = vload(row[t] + k);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec weight = vload(w + r * w_stride + k);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) sums[r][t] = vfma(weight, values[t], sums[r][t]);
    }
  }
  if (k < cols) {
    const int rest = static_cast<int>(cols - k);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec weight = vload_first(w + r * w_stride + k, rest);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        sums[r][t] = vfma(weight, vload_first(row[t] + k, rest), sums[r][t]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) vstore(acc + r * acc_stride + t * kLanes, sums[r][t]);
  }
}

// All rows of the panel against T neighbouring tokens.
template <int T>
inline void dot_rows(const float* w, int64_t w_stride, int64_t rows, const float* const* x,
                     int64_t col, int64_t cols, bool first, float* acc, int64_t acc_stride) {
  constexpr int kRows = T == 1 ? 8 : kDotRows;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    dot_tile<kRows, T>(w + r * w_stride, w_stride, x, col, cols, first, acc + r * acc_stride,
                       acc_stride);
  }
  for (; r < rows; ++r) {
    dot_tile<1, T>(w + r * w_stride, w_stride, x, col, cols, first, acc + r * acc_stride,
                   acc_stride);
  }
}

inline void dot_panel(const float* w, int64_t w_stride, const MatmulBlock& block, int64_t col,
                      int64_t cols, float* acc, int64_t acc_stride) {
  const bool first = col == 0;
  int64_t t = 0;
  for (; t + kDotTokens <= block.tokens; t += kDotTokens) {
    dot_rows<kDotTokens>(w, w_stride, block.rows, block.x + t, col, cols, first, acc + t * kLanes,
                         acc_stride);
  }
  const float* const* x = block.x + t;
  float* rest = acc + t * kLanes;
  const int64_t tokens = block.tokens - t;
  if (tokens == 1) dot_rows<1>(w, w_stride, block.rows, x, col, cols, first, rest, acc_stride);
  if (tokens == 2) dot_rows<2>(w, w_stride, block.rows, x, col, cols, first, rest, acc_stride);
  if (tokens == 3) dot_rows<3>(w, w_stride, block.rows, x, col, cols, first, rest, acc_stride);
  if (tokens == 4) dot_rows<4>(w, w_stride, block.rows, x, col, cols, first, rest, acc_stride);
  if (tokens == 5) dot_rows<5>(w, w_stride, block.rows, x, col, cols, first, rest, acc_stride);
}

inline int64_t matmul_scratch_floats(const WeightRows& w) {
  return kMaxBlockRows * kMaxBlockTokens * kLanes + kMaxBlockRows * (panel_cols(w) + 16);
}

// The next panel of a row is a few cache lines that no stride predictor sees coming.
inline void prefetch_panel(const uint8_t* src, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(src + i, 0, 2);
}

inline void matmul_block(const MatmulBlock& block) {
  const WeightRows& w = block.w;
  const int64_t panel = panel_cols(w);
  const int64_t panel_stride = panel + 16;  // not a multiple of the page size
  const int64_t acc_stride = block.tokens * kLanes;
  float* acc = block.scratch;
  float* decoded = block.scratch + kMaxBlockRows * kMaxBlockTokens * kLanes;
  const bool in_place = w.decode == nullptr && w.scale == nullptr;
  const int64_t panel_bytes = panel / w.block_elements * w.block_bytes;
  for (int64_t col = 0; col < w.cols; col += panel) {
    const int64_t cols = w.cols - col < panel ? w.cols - col : panel;
    const int64_t next_bytes = (w.cols - col - cols) / w.block_elements * w.block_bytes;
    if (in_place) {
      const uint8_t* rows = w.data + block.first_row * w.row_bytes + col * 4;
      dot_panel(reinterpret_cast<const float*>(rows), w.row_bytes / 4, block, col, cols, acc,
                acc_stride);
      continue;
    }
    for (int64_t r = 0; r < block.rows; ++r) {
      const int64_t row = block.first_row + r;
      prefetch_panel(
          w.data + row * w.row_bytes + col / w.block_elements * w.block_bytes + panel_bytes,
          next_bytes < panel_bytes ? next_bytes : panel_bytes);
      decode_span(w, row, col, cols, decoded + r * panel_stride);
    }
    dot_panel(decoded, panel_stride, block, col, cols, acc, acc_stride);
  }
  for (int64_t t = 0; t < block.tokens; ++t) {
    float* out = block.out + t * block.out_stride;
    for (int64_t r = 0; r < block.rows; ++r) {
      const float sum = vsum(vload(acc + r * acc_stride + t * kLanes));
      out[r] = block.bias == nullptr ? sum : sum + block.bias[r];
    }
  }
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
