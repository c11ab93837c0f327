// Attention of generated tokens over an int8 cache with AVX-512 VNNI (vpdpbusd: 16 lanes, each lane
// += four products of an unsigned and a signed byte).
//
//   key_scores   lanes along the 64 keys of a tile, which are turned round once for all queries in
//                blocks of 16 keys × 16 dwords; then 6 queries × 4 vectors, 4 loads + 6 broadcasts
//                for 24 products. Keys are made unsigned by adding 128; 128 Σ q is taken off again.
//                The sum of a group is exact
//   add_values   lanes along 64 columns. Probability times scale of the key, rounded to 8 bits with
//                a scale for each query and tile, is the unsigned factor. Four keys are interleaved
//                once for all queries, into 4 KB that stay in L1, then 6 queries × 4 vectors
//
// One key of V2-Lite takes 16 · (576 + 512) / 64 = 272 of them, a quarter of f32 products.
#if defined(__x86_64__)
#include "backends/cpu/vec_avx512.h"
//
#include "backends/cpu/attention_kernels.h"
#include "backends/cpu/int8_kernels.h"

namespace ferry::cpu {
namespace avx512 {
namespace {

constexpr int kTileRows = 6;
constexpr int64_t kBytes = 64;  // of a vector
constexpr int64_t kQuads = kKeyTile / 4;

inline __mmask64 first_bytes(int64_t n) {
  return n >= kBytes ? ~__mmask64{0} : (__mmask64{1} << n) - 1;
}

// sum += four products of unsigned a and signed b in each lane. As an instruction and not as the
// intrinsic, from which GCC 12 makes copies of all sums in every round, and spills them.
inline void dot_quads(__m512i& sum, __m512i a, __m512i b) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
}

// --- queries ---

void quantize_group(const float* x, int64_t n, int8_t* q, float* scale, int32_t* sum) {
  const __m512 magnitude = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fffffff));
  __m512i most = _mm512_setzero_si512();  // as integers NaN and infinity are the largest
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec v = n - i < kLanes ? vload_first(x + i, static_cast<int>(n - i)) : vload(x + i);
    most = _mm512_max_epi32(most, _mm512_castps_si512(_mm512_and_ps(v, magnitude)));
  }
  const int32_t bits = _mm512_reduce_max_epi32(most);
  float largest;
  __builtin_memcpy(&largest, &bits, sizeof largest);
  const bool finite = bits < 0x7f800000;
  const bool zero = !finite || largest < 0x1p-120f;
  const Vec factor = vset(zero ? 0.0f : 127.0f / largest);
  __m512i total = _mm512_setzero_si512();
  for (int64_t i = 0; i < n; i += kLanes) {
    const __mmask16 lanes =
        n - i < kLanes ? first_lanes(static_cast<int>(n - i)) : __mmask16{0xffff};
    const Vec v = zero ? vzero() : _mm512_maskz_loadu_ps(lanes, x + i);
    const __m512i rounded = _mm512_cvtps_epi32(vmul(v, factor));
    total = _mm512_add_epi32(total, rounded);
    _mm512_mask_cvtepi32_storeu_epi8(q + i, lanes, rounded);
  }
  *sum = _mm512_reduce_add_epi32(total);
  *scale = !finite ? __builtin_nanf("") : zero ? 0.0f : largest / 127.0f;
}

void quantize_queries(const float* queries, const Int8Queries& a) {
  for (int64_t r = 0; r < a.rows; ++r) {
    const float* x = queries + r * a.size;
    int8_t* q = a.q + r * a.stride;
    for (int64_t g = 0; g < a.groups; ++g) {
      const int64_t begin = g * a.group;
      const int64_t count = a.size - begin < a.group ? a.size - begin : a.group;
      quantize_group(x + begin, count, q + begin, a.scales + r * a.groups + g,
                     a.sums + r * a.groups + g);
    }
  }
}

// --- scores ---

// Sixteen rows of sixteen dwords, turned round.
inline void transpose_dwords(__m512i (&row)[16]) {
  __m512i pair[16], quad[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pair[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
    pair[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    quad[i] = _mm512_unpacklo_epi64(pair[i], pair[i + 2]);
    quad[i + 1] = _mm512_unpackhi_epi64(pair[i], pair[i + 2]);
    quad[i + 2] = _mm512_unpacklo_epi64(pair[i + 1], pair[i + 3]);
    quad[i + 3] = _mm512_unpackhi_epi64(pair[i + 1], pair[i + 3]);
  }
  // Lane l of quad[4 i + c] holds column 4 l + c of rows 4 i … 4 i + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i even0 = _mm512_shuffle_i32x4(quad[c], quad[4 + c], 0x88);
    const __m512i odd0 = _mm512_shuffle_i32x4(quad[c], quad[4 + c], 0xdd);
    const __m512i even1 = _mm512_shuffle_i32x4(quad[8 + c], quad[12 + c], 0x88);
    const __m512i odd1 = _mm512_shuffle_i32x4(quad[8 + c], quad[12 + c], 0xdd);
    row[c] = _mm512_shuffle_i32x4(even0, even1, 0x88);
    row[4 + c] = _mm512_shuffle_i32x4(odd0, odd1, 0x88);
    row[8 + c] = _mm512_shuffle_i32x4(even0, even1, 0xdd);
    row[12 + c] = _mm512_shuffle_i32x4(odd0, odd1, 0xdd);
  }
}

constexpr int kKeyVectors = kKeyTile / kLanes;

// Columns [begin, end) of all keys: lane j of tile[i][v] is bytes begin + 4 i … of key 16 v + j,
// unsigned. Places without a key repeat the last.
void transpose_keys(const Int8Scores& a, int64_t begin, int64_t end, __m512i (*tile)[kKeyVectors]) {
  const __m512i offset = _mm512_set1_epi8(-128);
  for (int v = 0; v < kKeyVectors; ++v) {
    const int8_t* key[kLanes];
    for (int j = 0; j < kLanes; ++j) {
      const int64_t index = v * kLanes + j;
      key[j] = a.keys[index < a.num_keys ? index : a.num_keys - 1];
    }
    for (int64_t k = begin; k < end; k += kBytes) {
      const __mmask64 bytes = first_bytes(end - k);
      __m512i row[16];
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) {
        // Behind the end zeros: what the queries have there is another group's.
        const __m512i stored = _mm512_maskz_loadu_epi8(bytes, key[j] + k);
        row[j] = _mm512_maskz_mov_epi8(bytes, _mm512_xor_si512(stored, offset));
      }
      transpose_dwords(row);
      const int64_t first = (k - begin) / 4;
      const int64_t dwords = (end - k + 3) / 4 < kLanes ? (end - k + 3) / 4 : kLanes;
      for (int64_t i = 0; i < dwords; ++i) tile[first + i][v] = row[i];
    }
  }
}

// Queries [row, row + R) times one group of all keys, added to their scores.
template <int R>
inline void score_rows(const Int8Scores& a, int64_t row, int64_t g, int64_t begin, int64_t dwords,
                       const float* key_scales, const __m512i (*tile)[kKeyVectors]) {
  __m512i sums[R][kKeyVectors];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kKeyVectors; ++v) sums[r][v] = _mm512_setzero_si512();
  }
  const int8_t* q = a.q.q + row * a.q.stride + begin;
  for (int64_t i = 0; i < dwords; ++i) {
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      int32_t four;
      __builtin_memcpy(&four, q + r * a.q.stride + 4 * i, sizeof four);
      const __m512i factor = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (int v = 0; v < kKeyVectors; ++v) {
        dot_quads(sums[r][v], tile[i][v], factor);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const int64_t index = (row + r) * a.q.groups + g;
    const __m512i taken_off = _mm512_set1_epi32(128 * a.q.sums[index]);
    float* scores = a.scores + (row + r) * kKeyTile;
#pragma GCC unroll 4
    for (int v = 0; v < kKeyVectors; ++v) {
      const Vec scale = vmul(vset(a.q.scales[index]), vload(key_scales + v * kLanes));
      const Vec before = g == 0 ? vzero() : vload(scores + v * kLanes);
      const Vec exact = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[r][v], taken_off));
      vstore(scores + v * kLanes, vfma(scale, exact, before));
    }
  }
}

void key_scores_int8(const Int8Scores& a) {
  __m512i tile[kInt8GroupMost / 4][kKeyVectors];
  for (int64_t g = 0; g < a.q.groups; ++g) {
    const int64_t begin = g * a.q.group;
    const int64_t end = a.q.size - begin < a.q.group ? a.q.size : begin + a.q.group;
    const int64_t dwords = (end - begin + 3) / 4;
    float scales[kKeyTile] = {};
    for (int64_t j = 0; j < a.num_keys; ++j) scales[j] = a.scales[j][g];
    transpose_keys(a, begin, end, tile);
    int64_t r = 0;
    for (; r + kTileRows <= a.q.rows; r += kTileRows) {
      score_rows<kTileRows>(a, r, g, begin, dwords, scales, tile);
      prefetch_rows(a.next, r * a.next.count / a.q.rows, (r + kTileRows) * a.next.count / a.q.rows);
    }
    const int64_t rest = a.q.rows - r;
    if (rest == 1) score_rows<1>(a, r, g, begin, dwords, scales, tile);
    if (rest == 2) score_rows<2>(a, r, g, begin, dwords, scales, tile);
    if (rest == 3) score_rows<3>(a, r, g, begin, dwords, scales, tile);
    if (rest == 4) score_rows<4>(a, r, g, begin, dwords, scales, tile);
    if (rest == 5) score_rows<5>(a, r, g, begin, dwords, scales, tile);
    if (g == 0) prefetch_rows(a.next, r * a.next.count / a.q.rows, a.next.count);
  }
}

// --- values ---

// weights[j] · scale ≈ p[j] · scales[j], all of them at least 0.
void quantize_weights(const float* p, const float* scales, uint8_t* weights, float* scale) {
  constexpr int kVectors = kKeyTile / kLanes;
  Vec w[kVectors];
  __m512i most = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    w[v] = vmul(vload(p + v * kLanes), vload(scales + v * kLanes));
    const __m512i bits = _mm512_and_si512(_mm512_castps_si512(w[v]), _mm512_set1_epi32(0x7fffffff));
    most = _mm512_max_epi32(most, bits);
  }
  const int32_t bits = _mm512_reduce_max_epi32(most);
  float largest;
  __builtin_memcpy(&largest, &bits, sizeof largest);
  const bool finite = bits < 0x7f800000;
  const bool zero = !finite || largest < 0x1p-118f;
  const Vec factor = vset(zero ? 0.0f : 255.0f / largest);
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const __m512i rounded = _mm512_cvtps_epu32(vmul(zero ? vzero() : w[v], factor));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(weights + v * kLanes),
                     _mm512_cvtusepi32_epi8(rounded));
  }
  *scale = !finite ? __builtin_nanf("") : zero ? 0.0f : largest / 255.0f;
}

// Four rows × 64 columns: dword c of vector v holds the four bytes of column 16 v + c.
inline void interleave_quad(const int8_t* const* rows, int64_t column, __mmask64 bytes,
                            __m512i* quad) {
  __m512i row[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    row[i] = rows[i] == nullptr ? _mm512_setzero_si512()
                                : _mm512_maskz_loadu_epi8(bytes, rows[i] + column);
  }
  const __m512i low01 = _mm512_unpacklo_epi8(row[0], row[1]);
  const __m512i high01 = _mm512_unpackhi_epi8(row[0], row[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(row[2], row[3]);
  const __m512i high23 = _mm512_unpackhi_epi8(row[2], row[3]);
  // Each still by 128-bit lanes: lane l of part i holds columns 16 l + 4 i …
  const __m512i a = _mm512_unpacklo_epi16(low01, low23);
  const __m512i b = _mm512_unpackhi_epi16(low01, low23);
  const __m512i c = _mm512_unpacklo_epi16(high01, high23);
  const __m512i d = _mm512_unpackhi_epi16(high01, high23);
  const __m512i ab02 = _mm512_shuffle_i32x4(a, b, 0x88), ab13 = _mm512_shuffle_i32x4(a, b, 0xdd);
  const __m512i cd02 = _mm512_shuffle_i32x4(c, d, 0x88), cd13 = _mm512_shuffle_i32x4(c, d, 0xdd);
  // ab02 = a₀ a₂ b₀ b₂; a vector of sixteen columns is a_l b_l c_l d_l.
  quad[0] = _mm512_shuffle_i32x4(ab02, cd02, 0x88);
  quad[1] = _mm512_shuffle_i32x4(ab13, cd13, 0x88);
  quad[2] = _mm512_shuffle_i32x4(ab02, cd02, 0xdd);
  quad[3] = _mm512_shuffle_i32x4(ab13, cd13, 0xdd);
}

template <int R>
inline void weigh_columns(const Int8Values& a, int64_t row, int64_t column, int64_t quads,
                          const __m512i (*tile)[4]) {
  __m512i sums[R][4];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) sums[r][n] = _mm512_setzero_si512();
  }
  for (int64_t i = 0; i < quads; ++i) {
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      int32_t four;
      __builtin_memcpy(&four, a.weights + (row + r) * kKeyTile + 4 * i, sizeof four);
      const __m512i factor = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (int n = 0; n < 4; ++n) {
        dot_quads(sums[r][n], factor, tile[i][n]);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const Vec scale = vset(a.weight_scales[row + r]);
    float* out = a.out + (row + r) * a.out_stride + column;
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) {
      const int64_t left = a.size - column - n * kLanes;
      if (left <= 0) break;
      const __mmask16 lanes =
          left < kLanes ? first_lanes(static_cast<int>(left)) : __mmask16{0xffff};
      const Vec before = _mm512_maskz_loadu_ps(lanes, out + n * kLanes);
      _mm512_mask_storeu_ps(out + n * kLanes, lanes,
                            vfma(scale, _mm512_cvtepi32_ps(sums[r][n]), before));
    }
  }
}

void add_values_int8(const Int8Values& a) {
  float scales[kKeyTile] = {};
  for (int64_t j = 0; j < a.num_keys; ++j) scales[j] = a.scales[j][0];
  for (int64_t r = 0; r < a.rows; ++r) {
    quantize_weights(a.p + r * kKeyTile, scales, a.weights + r * kKeyTile, a.weight_scales + r);
  }
  __m512i tile[kQuads][4];
  const int64_t quads = (a.num_keys + 3) / 4;
  const int64_t blocks = (a.size + kBytes - 1) / kBytes;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t column = block * kBytes;
    for (int64_t i = 0; i < quads; ++i) {
      const int8_t* rows[4];
      for (int64_t j = 0; j < 4; ++j) {
        rows[j] = 4 * i + j < a.num_keys ? a.values[4 * i + j] : nullptr;
      }
      interleave_quad(rows, column, first_bytes(a.size - column), tile[i]);
    }
    int64_t r = 0;
    for (; r + kTileRows <= a.rows; r += kTileRows) {
      weigh_columns<kTileRows>(a, r, column, quads, tile);
    }
    const int64_t rest = a.rows - r;
    if (rest == 1) weigh_columns<1>(a, r, column, quads, tile);
    if (rest == 2) weigh_columns<2>(a, r, column, quads, tile);
    if (rest == 3) weigh_columns<3>(a, r, column, quads, tile);
    if (rest == 4) weigh_columns<4>(a, r, column, quads, tile);
    if (rest == 5) weigh_columns<5>(a, r, column, quads, tile);
    prefetch_rows(a.next, block * a.next.count / blocks, (block + 1) * a.next.count / blocks);
  }
}

}  // namespace
}  // namespace avx512

extern const Int8Kernels int8_kernels_avx512vnni;  // chosen in level.cc
constinit const Int8Kernels int8_kernels_avx512vnni = {
    .quantize = avx512::quantize_queries,
    .key_scores = avx512::key_scores_int8,
    .add_values = avx512::add_values_int8,
};

}  // namespace ferry::cpu
#endif
