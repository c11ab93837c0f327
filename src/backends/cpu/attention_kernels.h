// key_scores() and add_values(): a few queries against one tile of keys where it lies (include a
// vec_*.h first). For decode, where the queries are the heads that share a row of the cache: every
// row is read once per four heads, from L1, and never rearranged.
//
//   key_scores   lanes along the row: lane l of a score sums the products of elements ≡ l in
//                ascending order, then the tree of vsum()
//   add_values   lanes along the columns: one chain of multiply-adds per output, keys ascending
//
// Meanwhile the rows of the next tile are prefetched, a few lines after every few products: the
// memory works while the multipliers do.
#pragma once

#include "backends/cpu/kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

constexpr int kScoreRows = 4;  // register tile: queries × keys, queries × vectors

// Asks for rows [begin, end) of the next tile.
inline void prefetch_rows(const NextRows& next, int64_t begin, int64_t end) {
  if (end > next.count) end = next.count;
  for (int64_t i = begin; i < end; ++i) {
    const uint8_t* row = next.rows[i];
    for (int64_t b = 0; b < next.bytes; b += 64) __builtin_prefetch(row + b, 0, 2);
  }
}

#if defined(__AVX512F__)
// Lane i: vsum(v[i]), by the same tree; sixteen at a time it takes two instructions a vector.
inline Vec sum_each(const Vec* v) {
  Vec eighths[8], quarters[4], halves[2];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {  // lanes l and l + 8
    const Vec a = v[2 * i], b = v[2 * i + 1];
    eighths[i] = vadd(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // lanes l and l + 4
    const Vec a = eighths[2 * i], b = eighths[2 * i + 1];
    quarters[i] = vadd(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {  // lanes l and l + 2
    const Vec a = quarters[2 * i], b = quarters[2 * i + 1];
    halves[i] = vadd(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
  }
  const Vec a = halves[0], b = halves[1];  // lanes l and l + 1
  const Vec sums = vadd(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
  // 128-bit lane j holds v[j], v[4 + j] of the first four, ...: back into order.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_ps(order, sums);
}
#endif

// R queries × kScoreKeys keys → scores[r * kKeyTile + key] for the first `num_keys`.
template <int R>
inline void score_tile(int64_t size, const float* q, int64_t q_stride, const float* const* keys,
                       int64_t num_keys, float* scores) {
  Vec sums[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) sums[i] = vzero();
  const float* key[kScoreKeys];
#pragma GCC unroll 4
  for (int j = 0; j < kScoreKeys; ++j) key[j] = keys[j < num_keys ? j : num_keys - 1];
  int64_t k = 0;
  for (; k + kLanes <= size; k += kLanes) {
    Vec values[kScoreKeys];
#pragma GCC unroll 4
    for (int j = 0; j < kScoreKeys; ++j) values[j] = vload(key[j] + k);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const Vec query = vload(q + r * q_stride + k);
#pragma GCC unroll 4
      for (int j = 0; j < kScoreKeys; ++j) {
        sums[r * kScoreKeys + j] = vfma(query, values[j], sums[r * kScoreKeys + j]);
      }
    }
  }
  if (k < size) {
    const int rest = static_cast<int>(size - k);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const Vec query = vload_first(q + r * q_stride + k, rest);
#pragma GCC unroll 4
      for (int j = 0; j < kScoreKeys; ++j) {
        sums[r * kScoreKeys + j] =
            vfma(query, vload_first(key[j] + k, rest), sums[r * kScoreKeys + j]);
      }
    }
  }
  float all[16];
#if defined(__AVX512F__)
  vstore(all, sum_each(sums));
#else
#pragma GCC unroll 16
  for (int i = 0; i < R * kScoreKeys; ++i) all[i] = vsum(sums[i]);
#endif
  for (int r = 0; r < R; ++r) {
    for (int j = 0; j < kScoreKeys && j < num_keys; ++j) {
      scores[r * kKeyTile + j] = all[r * kScoreKeys + j];
    }
  }
}

inline void key_scores(const KeyScores& a) {
  for (int64_t j = 0; j < a.num_keys; j += kScoreKeys) {
    const int64_t keys = a.num_keys - j;
    const float* q = a.q;
    float* scores = a.scores + j;
    int64_t r = 0;
    for (; r + kScoreRows <= a.rows; r += kScoreRows) {
      score_tile<kScoreRows>(a.size, q, a.q_stride, a.keys + j, keys, scores);
      q += kScoreRows * a.q_stride;
      scores += kScoreRows * kKeyTile;
    }
    const int64_t rest = a.rows - r;
    if (rest == 1) score_tile<1>(a.size, q, a.q_stride, a.keys + j, keys, scores);
    if (rest == 2) score_tile<2>(a.size, q, a.q_stride, a.keys + j, keys, scores);
    if (rest == 3) score_tile<3>(a.size, q, a.q_stride, a.keys + j, keys, scores);
    prefetch_rows(a.next, j, j + kScoreKeys);
  }
  // A short tile has fewer products to hide them behind.
  prefetch_rows(a.next, (a.num_keys + kScoreKeys - 1) / kScoreKeys * kScoreKeys, a.next.count);
}

// R queries × N whole vectors of columns.
template <int R, int N>
inline void value_tile(int64_t num_keys, const float* p, const float* const* values, int64_t column,
                       float* out, int64_t out_stride) {
  Vec sums[R][N];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sums[r][n] = vload(out + r * out_stride + n * kLanes);
  }
  for (int64_t j = 0; j < num_keys; ++j) {
    const float* row = values[j] + column;
    Vec columns[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) columns[n] = vload(row + n * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const Vec factor = vset(p[r * kKeyTile + j]);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sums[r][n] = vfma(factor, columns[n], sums[r][n]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) vstore(out + r * out_stride + n * kLanes, sums[r][n]);
  }
}

// R queries × the last n < kLanes columns.
template <int R>
inline void value_edge(int n, int64_t num_keys, const float* p, const float* const* values,
                       int64_t column, float* out, int64_t out_stride) {
  Vec sums[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) sums[r] = vload_first(out + r * out_stride, n);
  for (int64_t j = 0; j < num_keys; ++j) {
    const Vec columns = vload_first(values[j] + column, n);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) sums[r] = vfma(vset(p[r * kKeyTile + j]), columns, sums[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) vstore_first(out + r * out_stride, sums[r], n);
}

// All queries × columns [column, column + width), where width is at most a register tile.
template <int R>
inline void value_rows(const AddValues& a, int64_t row, int64_t column, int64_t width) {
  const float* p = a.p + row * kKeyTile;
  float* out = a.out + row * a.out_stride + column;
  if (width == kValueVectors * kLanes) {
    value_tile<R, kValueVectors>(a.num_keys, p, a.values, column, out, a.out_stride);
    return;
  }
  for (; width >= kLanes; width -= kLanes, column += kLanes, out += kLanes) {
    value_tile<R, 1>(a.num_keys, p, a.values, column, out, a.out_stride);
  }
  if (width > 0) {
    value_edge<R>(static_cast<int>(width), a.num_keys, p, a.values, column, out, a.out_stride);
  }
}

inline void add_values(const AddValues& a) {
  constexpr int64_t kWidth = kValueVectors * kLanes;
  const int64_t blocks = (a.size + kWidth - 1) / kWidth;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t column = block * kWidth;
    const int64_t width = a.size - column < kWidth ? a.size - column : kWidth;
    int64_t r = 0;
    for (; r + kScoreRows <= a.rows; r += kScoreRows) value_rows<kScoreRows>(a, r, column, width);
    if (a.rows - r == 1) value_rows<1>(a, r, column, width);
    if (a.rows - r == 2) value_rows<2>(a, r, column, width);
    if (a.rows - r == 3) value_rows<3>(a, r, column, width);
    prefetch_rows(a.next, block * a.next.count / blocks, (block + 1) * a.next.count / blocks);
  }
}

// out = a · out + b · x
inline void blend(float a, float* out, float b, const float* x, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    vstore(out + i, vfma(vset(b), vload(x + i), vmul(vset(a), vload(out + i))));
  }
  if (i == n) return;
  const int rest = static_cast<int>(n - i);
  vstore_first(out + i,
               vfma(vset(b), vload_first(x + i, rest), vmul(vset(a), vload_first(out + i, rest))),
               rest);
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
