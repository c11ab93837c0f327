// The bf16 products of attention in AVX-512 (vdpbf16ps: 16 lanes, each lane += a₀ b₀ + a₁ b₁).
//
//   key_scores   lanes along the row, 4 queries × 4 keys where they lie:
//                4 + 4 loads for 16 instructions; the 16 sums are added up together at the end
//   add_values   lanes along 64 columns. Pairs of keys are interleaved once for all queries, into
//                8 KB that stay in L1, then 6 queries × 4 vectors: 4 loads + 6 broadcasts for 24
//   product      the same tile over a right factor that was stored in pairs
//
// One key of V2-Lite takes 16 · (576 + 512) / 32 = 544 of them, half as many as f32 products.
#if defined(__x86_64__)
#include "backends/cpu/vec_avx512.h"
//
#include "backends/cpu/attention_kernels.h"
#include "backends/cpu/bf16_kernels.h"

namespace ferry::cpu {
namespace avx512 {
namespace {

constexpr int kPairRows = 6;
constexpr int kPairVectors = 4;
constexpr int kColumns = kPairVectors * kLanes;

inline Vec dot_pairs(Vec sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
inline __m512i load_pairs(const uint16_t* p) { return _mm512_loadu_si512(p); }
inline __m512i broadcast_pair(const uint16_t* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, sizeof pair);
  return _mm512_set1_epi32(pair);
}

// --- scores ---

template <int R>
inline void score_tile_bf16(const Bf16Scores& a, const uint16_t* q, int64_t first, float* scores) {
  Vec sums[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) sums[i] = vzero();
  const int64_t left = a.num_keys - first;
  const uint16_t* key[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) key[j] = a.keys[first + (j < left ? j : left - 1)];
  int64_t k = 0;
  for (; k + 2 * kLanes <= a.size; k += 2 * kLanes) {
    __m512i values[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) values[j] = load_pairs(key[j] + k);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const __m512i query = load_pairs(q + r * a.q_stride + k);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sums[4 * r + j] = dot_pairs(sums[4 * r + j], query, values[j]);
    }
  }
  if (k < a.size) {
    const __mmask32 rest = (__mmask32{1} << (a.size - k)) - 1;
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const __m512i query = _mm512_maskz_loadu_epi16(rest, q + r * a.q_stride + k);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const __m512i values = _mm512_maskz_loadu_epi16(rest, key[j] + k);
        sums[4 * r + j] = dot_pairs(sums[4 * r + j], query, values);
      }
    }
  }
  float all[16];
  vstore(all, sum_each(sums));
  for (int r = 0; r < R; ++r) {
    for (int j = 0; j < 4 && j < left; ++j) scores[r * kKeyTile + first + j] = all[4 * r + j];
  }
}

void key_scores_bf16(const Bf16Scores& a) {
  for (int64_t j = 0; j < a.num_keys; j += 4) {
    const uint16_t* q = a.q;
    float* scores = a.scores;
    int64_t r = 0;
    for (; r + 4 <= a.rows; r += 4, q += 4 * a.q_stride, scores += 4 * kKeyTile) {
      score_tile_bf16<4>(a, q, j, scores);
    }
    if (a.rows - r == 1) score_tile_bf16<1>(a, q, j, scores);
    if (a.rows - r == 2) score_tile_bf16<2>(a, q, j, scores);
    if (a.rows - r == 3) score_tile_bf16<3>(a, q, j, scores);
    prefetch_rows(a.next, j, j + 4);
  }
  prefetch_rows(a.next, (a.num_keys + 3) / 4 * 4, a.next.count);
}

// --- products with a right factor in pairs ---

// The right factor's last pair where only its first row counts.
inline __m512i first_of_pair(__m512i pairs) {
  return _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff));
}

// sums[m][n] += of one pair of k.
template <int M, int N>
inline void add_pair(Vec (&sums)[M][N], const uint16_t* left, int64_t left_stride,
                     const __m512i (&columns)[N]) {
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    const __m512i factor = broadcast_pair(left + m * left_stride);
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sums[m][n] = dot_pairs(sums[m][n], factor, columns[n]);
  }
}

template <int M, int N>
inline void product_tile(const Bf16Product& a, int64_t row, int64_t column, __mmask16 lanes) {
  const uint16_t* left = a.a + row * a.a_stride;
  const uint16_t* right = a.b + 2 * column;
  float* c = a.c + row * a.c_stride + column;
  Vec sums[M][N];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      sums[m][n] =
          a.accumulate ? _mm512_maskz_loadu_ps(lanes, c + m * a.c_stride + n * kLanes) : vzero();
    }
  }
  __m512i columns[N];
  for (int64_t i = 0; i + 2 <= a.k; i += 2, left += 2, right += a.b_stride) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      columns[n] = _mm512_maskz_loadu_epi32(lanes, right + 2 * n * kLanes);
    }
    add_pair<M, N>(sums, left, a.a_stride, columns);
  }
  if (a.k % 2 != 0) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      columns[n] = first_of_pair(_mm512_maskz_loadu_epi32(lanes, right + 2 * n * kLanes));
    }
    add_pair<M, N>(sums, left, a.a_stride, columns);
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      _mm512_mask_storeu_ps(c + m * a.c_stride + n * kLanes, lanes, sums[m][n]);
    }
  }
}

template <int M>
inline void product_rows(const Bf16Product& a, int64_t row) {
  int64_t column = 0;
  for (; column + kColumns <= a.n; column += kColumns) {
    product_tile<M, kPairVectors>(a, row, column, 0xffff);
  }
  for (; column < a.n; column += kLanes) {
    const int64_t left = a.n - column;
    product_tile<M, 1>(a, row, column,
                       left < kLanes ? first_lanes(static_cast<int>(left)) : __mmask16{0xffff});
  }
}

void product_bf16(const Bf16Product& a) {
  int64_t row = 0;
  for (; row + kPairRows <= a.m; row += kPairRows) product_rows<kPairRows>(a, row);
  const int64_t rest = a.m - row;
  if (rest == 1) product_rows<1>(a, row);
  if (rest == 2) product_rows<2>(a, row);
  if (rest == 3) product_rows<3>(a, row);
  if (rest == 4) product_rows<4>(a, row);
  if (rest == 5) product_rows<5>(a, row);
}

// --- pairs ---

// Sixteen columns of two rows.
inline __m512i pair_columns(__m256i first, __m256i second) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(first),
                         _mm512_slli_epi32(_mm512_cvtepu16_epi32(second), 16));
}
inline __m256i round_to_bf16(Vec a) { return (__m256i)_mm512_cvtneps_pbh(a); }

inline __m256i load_as_bf16(const float* p, int n) {
  return round_to_bf16(n < kLanes ? vload_first(p, n) : vload(p));
}
inline __m256i load_as_bf16(const uint16_t* p, int n) {
  return _mm256_maskz_loadu_epi16(n < kLanes ? first_lanes(n) : __mmask16{0xffff}, p);
}

// Columns [0, n) of two rows, 32 at a time; gives n.
inline int64_t pair_whole_columns(const uint16_t* first, const uint16_t* second, int64_t cols,
                                  uint16_t* dst) {
  if (second == nullptr) return 0;
  // Element i of the low half is first[i / 2] or second[i / 2]; the high half begins 16 behind.
  const __m512i steps = _mm512_set_epi32(0x2f000f, 0x2e000e, 0x2d000d, 0x2c000c, 0x2b000b, 0x2a000a,
                                         0x290009, 0x280008, 0x270007, 0x260006, 0x250005, 0x240004,
                                         0x230003, 0x220002, 0x210001, 0x200000);
  const __m512i behind = _mm512_add_epi16(steps, _mm512_set1_epi16(16));
  int64_t c = 0;
  for (; c + 2 * kLanes <= cols; c += 2 * kLanes) {
    const __m512i a = load_pairs(first + c), b = load_pairs(second + c);
    _mm512_storeu_si512(dst + 2 * c, _mm512_permutex2var_epi16(a, steps, b));
    _mm512_storeu_si512(dst + 2 * c + 2 * kLanes, _mm512_permutex2var_epi16(a, behind, b));
  }
  return c;
}
inline int64_t pair_whole_columns(const float*, const float*, int64_t, uint16_t*) { return 0; }

template <typename T>
inline void pair_columns_of(const T* first, const T* second, int64_t cols, uint16_t* dst) {
  for (int64_t c = pair_whole_columns(first, second, cols, dst); c < cols; c += kLanes) {
    const int n = cols - c < kLanes ? static_cast<int>(cols - c) : kLanes;
    const __m256i zero = _mm256_setzero_si256();
    const __m512i pairs = pair_columns(load_as_bf16(first + c, n),
                                       second != nullptr ? load_as_bf16(second + c, n) : zero);
    const __mmask16 lanes = n < kLanes ? first_lanes(n) : __mmask16{0xffff};
    _mm512_mask_storeu_epi32(dst + 2 * c, lanes, pairs);
  }
}

template <typename T>
void pair_rows(const T* src, int64_t src_stride, int64_t rows, int64_t cols, uint16_t* dst,
               int64_t dst_stride) {
  for (int64_t r = 0; r < rows; r += 2, dst += dst_stride) {
    const T* first = src + r * src_stride;
    pair_columns_of(first, r + 1 < rows ? first + src_stride : nullptr, cols, dst);
  }
}

// --- probabilities ---

// e^x to 3e-7 for x <= 0; 0 from −104 down, NaN stays. x = n ln 2 + r with |r| <= ln 2 / 2, then
// the Taylor series of e^r to the sixth power.
inline Vec exp_of_negative(Vec x) {
  x = vmax(vset(-110.0f), x);
  const Vec n = _mm512_roundscale_ps(vmul(x, vset(1.44269504f)), 0);
  Vec r = _mm512_fnmadd_ps(n, vset(0.693145751953125f), x);
  r = _mm512_fnmadd_ps(n, vset(1.42860682e-6f), r);
  Vec sum = vset(1.0f / 720);
  sum = vfma(sum, r, vset(1.0f / 120));
  sum = vfma(sum, r, vset(1.0f / 24));
  sum = vfma(sum, r, vset(1.0f / 6));
  sum = vfma(sum, r, vset(0.5f));
  sum = vfma(sum, r, vset(1.0f));
  sum = vfma(sum, r, vset(1.0f));
  return _mm512_scalef_ps(sum, n);
}

void softmax_row_bf16(const SoftmaxRow& row, uint16_t* p) {
  constexpr int kVectors = kKeyTile / kLanes;
  const Vec lowest = vset(-__builtin_inff());
  Vec scores[kVectors];
  Vec largest = lowest;
  __mmask16 seen[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const int64_t left = row.num_keys - v * kLanes;
    seen[v] = left >= kLanes ? __mmask16{0xffff}
              : left <= 0    ? __mmask16{0}
                             : first_lanes(static_cast<int>(left));
    scores[v] = vmul(vload(row.scores + v * kLanes), vset(row.scale));
    largest = _mm512_mask_max_ps(largest, seen[v], scores[v], largest);
  }
  const float of_tile = vlargest(largest);
  const float before = row.first ? -__builtin_inff() : *row.largest;
  const float now = of_tile > before ? of_tile : before;
  Vec sum = vzero();
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const Vec e = _mm512_maskz_mov_ps(seen[v], exp_of_negative(vsub(scores[v], vset(now))));
    sum = vadd(sum, e);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + v * kLanes), round_to_bf16(e));
  }
  *row.largest = now;
  if (row.first) {
    *row.sum = vsum(sum);
    int64_t i = 0;
    for (; i + kLanes <= row.size; i += kLanes) vstore(row.out + i, vzero());
    if (i < row.size) vstore_first(row.out + i, vzero(), static_cast<int>(row.size - i));
    return;
  }
  if (now == before) {  // the factor is exactly 1
    *row.sum += vsum(sum);
    return;
  }
  const float factor = _mm512_cvtss_f32(exp_of_negative(vset(before - now)));
  *row.sum = *row.sum * factor + vsum(sum);
  int64_t i = 0;
  for (; i + kLanes <= row.size; i += kLanes)
    vstore(row.out + i, vmul(vload(row.out + i), vset(factor)));
  if (i < row.size) {
    const int rest = static_cast<int>(row.size - i);
    vstore_first(row.out + i, vmul(vload_first(row.out + i, rest), vset(factor)), rest);
  }
}

// --- values ---

void add_values_bf16(const Bf16Values& a) {
  alignas(64) uint16_t pairs[kKeyTile / 2][2 * kColumns];
  const int64_t blocks = (a.size + kColumns - 1) / kColumns;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t column = block * kColumns;
    const int64_t width = a.size - column < kColumns ? a.size - column : kColumns;
    for (int64_t j = 0; j < a.num_keys; j += 2) {
      const uint16_t* second = j + 1 < a.num_keys ? a.values[j + 1] + column : nullptr;
      pair_columns_of(a.values[j] + column, second, width, pairs[j / 2]);
    }
    product_bf16({.m = a.rows,
                  .n = width,
                  .k = a.num_keys,
                  .a = a.p,
                  .a_stride = kKeyTile,
                  .b = pairs[0],
                  .b_stride = 2 * kColumns,
                  .c = a.out + column,
                  .c_stride = a.out_stride,
                  .accumulate = true});
    prefetch_rows(a.next, block * a.next.count / blocks, (block + 1) * a.next.count / blocks);
  }
}

}  // namespace
}  // namespace avx512

extern const Bf16Kernels bf16_kernels_avx512;  // chosen in level.cc
constinit const Bf16Kernels bf16_kernels_avx512 = {
    .key_scores = avx512::key_scores_bf16,
    .add_values = avx512::add_values_bf16,
    .product = avx512::product_bf16,
    .softmax_row = avx512::softmax_row_bf16,
    .pair_f32 = avx512::pair_rows<float>,
    .pair_bf16 = avx512::pair_rows<uint16_t>,
};

}  // namespace ferry::cpu
#endif
