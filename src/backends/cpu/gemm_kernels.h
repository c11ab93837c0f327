// gemm() and transpose(), for the products inside attention and of transposed head matrices
// (include a vec_*.h first). Lanes lie along n, so that each element of C is one chain of
// multiply-adds in ascending order of k, whatever tile it falls into.
#pragma once

#include "backends/cpu/kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

// M rows × N whole vectors of C.
template <int M, int N>
inline void gemm_tile(int64_t k, const float* a, int64_t a_stride, const float* b, int64_t b_stride,
                      float* c, int64_t c_stride, bool accumulate) {
  Vec sums[M][N];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      sums[m][n] = accumulate ? vload(c + m * c_stride + n * kLanes) : vzero();
    }
  }
  for (int64_t i = 0; i < k; ++i) {
    Vec columns[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) columns[n] = vload(b + i * b_stride + n * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Vec factor = vset(a[m * a_stride + i]);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sums[m][n] = vfma(factor, columns[n], sums[m][n]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) vstore(c + m * c_stride + n * kLanes, sums[m][n]);
  }
}

// M rows × the last n < kLanes columns of C.
template <int M>
inline void gemm_edge(int n, int64_t k, const float* a, int64_t a_stride, const float* b,
                      int64_t b_stride, float* c, int64_t c_stride, bool accumulate) {
  Vec sums[M];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) sums[m] = accumulate ? vload_first(c + m * c_stride, n) : vzero();
  for (int64_t i = 0; i < k; ++i) {
    const Vec column = vload_first(b + i * b_stride, n);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) sums[m] = vfma(vset(a[m * a_stride + i]), column, sums[m]);
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) vstore_first(c + m * c_stride, sums[m], n);
}

// M rows of C. For a long k the rows of B that one tile of columns needs still fit into L2.
template <int M>
inline void gemm_rows(int64_t n, int64_t k, const float* a, int64_t a_stride, const float* b,
                      int64_t b_stride, float* c, int64_t c_stride, bool accumulate) {
  int64_t column = 0;
  for (; column + kGemmVectors * kLanes <= n; column += kGemmVectors * kLanes) {
    gemm_tile<M, kGemmVectors>(k, a, a_stride, b + column, b_stride, c + column, c_stride,
                               accumulate);
  }
  for (; column + kLanes <= n; column += kLanes) {
    gemm_tile<M, 1>(k, a, a_stride, b + column, b_stride, c + column, c_stride, accumulate);
  }
  if (column < n) {
    gemm_edge<M>(static_cast<int>(n - column), k, a, a_stride, b + column, b_stride, c + column,
                 c_stride, accumulate);
  }
}

inline void gemm(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_stride, const float* b,
                 int64_t b_stride, float* c, int64_t c_stride, bool accumulate) {
  int64_t row = 0;
  for (; row + kGemmRows <= m; row += kGemmRows) {
    gemm_rows<kGemmRows>(n, k, a + row * a_stride, a_stride, b, b_stride, c + row * c_stride,
                         c_stride, accumulate);
  }
  a += row * a_stride;
  c += row * c_stride;
  const int64_t rest = m - row;
  if (rest == 1) gemm_rows<1>(n, k, a, a_stride, b, b_stride, c, c_stride, accumulate);
  if (rest == 2) gemm_rows<2>(n, k, a, a_stride, b, b_stride, c, c_stride, accumulate);
  if (rest == 3) gemm_rows<3>(n, k, a, a_stride, b, b_stride, c, c_stride, accumulate);
  if (rest == 4) gemm_rows<4>(n, k, a, a_stride, b, b_stride, c, c_stride, accumulate);
  if (rest == 5) gemm_rows<5>(n, k, a, a_stride, b, b_stride, c, c_stride, accumulate);
}

inline void transpose_scalar(const float* src, int64_t src_stride, int64_t rows, int64_t cols,
                             float* dst, int64_t dst_stride) {
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < rows; ++r) dst[c * dst_stride + r] = src[r * src_stride + c];
  }
}

#if defined(__AVX2__)
inline void transpose_8x8(const float* src, int64_t src_stride, float* dst, int64_t dst_stride) {
  __m256 row[8], pair[8], quad[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) row[i] = _mm256_loadu_ps(src + i * src_stride);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i += 2) {
    pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
    pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; i += 4) {
    quad[i] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0x44);
    quad[i + 1] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0xee);
    quad[i + 2] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0x44);
    quad[i + 3] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0xee);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(dst + i * dst_stride, _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x20));
    _mm256_storeu_ps(dst + (i + 4) * dst_stride,
                     _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x31));
  }
}

inline void transpose(const float* src, int64_t src_stride, int64_t rows, int64_t cols, float* dst,
                      int64_t dst_stride) {
  const int64_t whole_rows = rows / 8 * 8;
  const int64_t whole_cols = cols / 8 * 8;
  for (int64_t c = 0; c < whole_cols; c += 8) {
    for (int64_t r = 0; r < whole_rows; r += 8) {
      transpose_8x8(src + r * src_stride + c, src_stride, dst + c * dst_stride + r, dst_stride);
    }
  }
  transpose_scalar(src + whole_cols, src_stride, whole_rows, cols - whole_cols,
                   dst + whole_cols * dst_stride, dst_stride);
  transpose_scalar(src + whole_rows * src_stride, src_stride, rows - whole_rows, cols,
                   dst + whole_rows, dst_stride);
}
#else
inline void transpose(const float* src, int64_t src_stride, int64_t rows, int64_t cols, float* dst,
                      int64_t dst_stride) {
  transpose_scalar(src, src_stride, rows, cols, dst, dst_stride);
}
#endif

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
