// Vec: 8 floats in an AVX register; needs AVX2, FMA and F16C. See vec_avx512.h for the rules.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#define FERRY_ISA avx2

namespace ferry::cpu::avx2 {
namespace {

using Vec = __m256;
constexpr int kLanes = 8;
constexpr int kGemmRows = 6;
constexpr int kGemmVectors = 2;
constexpr int kDotRows = 3;
constexpr int kDotTokens = 4;
constexpr int kScoreKeys = 3;
constexpr int kValueVectors = 2;

inline __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline Vec vzero() { return _mm256_setzero_ps(); }
inline Vec vset(float x) { return _mm256_set1_ps(x); }
inline Vec vload(const float* p) { return _mm256_loadu_ps(p); }
inline void vstore(float* p, Vec a) { _mm256_storeu_ps(p, a); }
inline Vec vload_first(const float* p, int n) { return _mm256_maskload_ps(p, first_lanes(n)); }
inline void vstore_first(float* p, Vec a, int n) { _mm256_maskstore_ps(p, first_lanes(n), a); }

inline Vec vadd(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec vsub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
inline Vec vmul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
inline Vec vdiv(Vec a, Vec b) { return _mm256_div_ps(a, b); }
inline Vec vfma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec vmax(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec vmin(Vec a, Vec b) { return _mm256_min_ps(a, b); }
inline Vec vzero_below(Vec a, Vec x, Vec bound) {
  return _mm256_and_ps(_mm256_cmp_ps(x, bound, _CMP_NLT_UQ), a);
}
inline Vec vkeep_first(Vec a, int n, float other) {
  return _mm256_blendv_ps(vset(other), a, _mm256_castsi256_ps(first_lanes(n)));
}
inline Vec vpow2(Vec n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}

inline float vsum(Vec a) {
  const __m128 c = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 d = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
inline float vlargest(Vec a) {
  const __m128 c = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 d = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}

inline Vec vload_f16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Vec vload_bf16(const uint16_t* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
inline void vstore_f16(uint16_t* p, Vec a) {
  const __m128i half = _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), half);
}
inline void vstore_bf16(uint16_t* p, Vec a) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256 nan = _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
  const __m256i chosen = _mm256_castps_si256(
      _mm256_blendv_ps(_mm256_castsi256_ps(up), _mm256_castsi256_ps(quiet), nan));
  const __m256i rounded = _mm256_srli_epi32(chosen, 16);
  const __m128i packed =
      _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
}

inline Vec from_i8(__m128i q) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)); }
inline void store_scaled16(float* dst, __m128i q, float scale) {
  vstore(dst, vmul(from_i8(q), vset(scale)));
  vstore(dst + 8, vmul(from_i8(_mm_srli_si128(q, 8)), vset(scale)));
}
inline void store_affine16(float* dst, __m128i q, float scale, float offset) {
  vstore(dst, vfma(from_i8(q), vset(scale), vset(offset)));
  vstore(dst + 8, vfma(from_i8(_mm_srli_si128(q, 8)), vset(scale), vset(offset)));
}
struct GridTable {
  __m128i grid;
  float scale;
};
struct AffineTable {
  float scale, offset;
};
inline GridTable grid_table(__m128i grid, float scale) { return {grid, scale}; }
inline AffineTable affine_table(float scale, float offset) { return {scale, offset}; }
inline void store_codes16(float* dst, __m128i codes, GridTable table) {
  store_scaled16(dst, _mm_shuffle_epi8(table.grid, codes), table.scale);
}
inline void store_codes16(float* dst, __m128i codes, AffineTable table) {
  store_affine16(dst, codes, table.scale, table.offset);
}
template <typename Table>
inline void store_nibbles(float* low, float* high, __m128i q, Table of_low, Table of_high) {
  const __m128i mask = _mm_set1_epi8(15);
  store_codes16(low, _mm_and_si128(q, mask), of_low);
  store_codes16(high, _mm_and_si128(_mm_srli_epi16(q, 4), mask), of_high);
}
inline Vec vload_f8_e4m3(const uint8_t* p) {
  const __m128i wide = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  const __m128i both = _mm_srai_epi16(_mm_slli_epi16(wide, 8), 1);
  const __m128i half = _mm_and_si128(both, _mm_set1_epi16(static_cast<int16_t>(0xbf80)));
  const __m128i most = _mm_set1_epi16(0x3f80);
  const __m128i nan = _mm_cmpeq_epi16(_mm_and_si128(half, most), most);
  const __m128i number = _mm_or_si128(half, _mm_and_si128(nan, _mm_set1_epi16(0x7e00)));
  return vmul(_mm256_cvtph_ps(number), vset(256.0f));
}

}  // namespace
}  // namespace ferry::cpu::avx2
