// Vec: 16 floats in an AVX-512 register. One of three headers with the same names (vec_generic.h,
// vec_avx2.h); the kernel bodies (*_kernels.h) are written once against them and compiled in one
// translation unit per instruction set.
//
// Everything has internal linkage and nothing from the standard library is used: an inline function
// shared between translation units of different instruction sets could be kept by the linker in
// the version that an older processor cannot run.
#pragma once

// GCC 12 takes the deliberately undefined registers inside its own intrinsics for a mistake
// (its bug 105593). The place of the warning is the inlined code, hence no `pop` below.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#include <stdint.h>

#define FERRY_ISA avx512

namespace ferry::cpu::avx512 {
namespace {

using Vec = __m512;
constexpr int kLanes = 16;
constexpr int kGemmRows = 6;  // register tile of gemm(): rows × vectors
constexpr int kGemmVectors = 4;
constexpr int kDotRows = 4;  // register tile of matmul: weight rows × tokens
constexpr int kDotTokens = 6;
constexpr int kScoreKeys = 4;  // register tiles of attention: keys, vectors
constexpr int kValueVectors = 4;

inline __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }

inline Vec vzero() { return _mm512_setzero_ps(); }
inline Vec vset(float x) { return _mm512_set1_ps(x); }
inline Vec vload(const float* p) { return _mm512_loadu_ps(p); }
inline void vstore(float* p, Vec a) { _mm512_storeu_ps(p, a); }
// The first n lanes, the others zero / untouched. REQUIRES: 0 < n < kLanes
inline Vec vload_first(const float* p, int n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
inline void vstore_first(float* p, Vec a, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), a); }

inline Vec vadd(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec vsub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
inline Vec vmul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
inline Vec vdiv(Vec a, Vec b) { return _mm512_div_ps(a, b); }
inline Vec vfma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }  // a b + c
inline Vec vmax(Vec a, Vec b) { return _mm512_max_ps(a, b); }              // b if either is NaN
inline Vec vmin(Vec a, Vec b) { return _mm512_min_ps(a, b); }              // b if either is NaN
// a where x >= bound or x is NaN, otherwise 0.
inline Vec vzero_below(Vec a, Vec x, Vec bound) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, bound, _CMP_NLT_UQ), a);
}
// Replaces all but the first n lanes. REQUIRES: 0 < n < kLanes
inline Vec vkeep_first(Vec a, int n, float other) {
  return _mm512_mask_mov_ps(vset(other), first_lanes(n), a);
}
// 2^n for integral n in [-126, 127]; infinity for 128.
inline Vec vpow2(Vec n) {
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}

// Reductions in one fixed order: halves onto each other until one lane is left.
inline float vsum(Vec a) {
  const __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
inline float vlargest(Vec a) {
  const __m256 b = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}

// kLanes halves ↔ floats, rounding to nearest even.
inline Vec vload_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Vec vload_bf16(const uint16_t* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
inline void vstore_f16(uint16_t* p, Vec a) {
  const __m256i half = _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
}
inline void vstore_bf16(uint16_t* p, Vec a) {
  const __m512i bits = _mm512_castps_si512(a);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
  const __m512i rounded = _mm512_srli_epi32(_mm512_mask_mov_epi32(up, nan, quiet), 16);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(rounded));
}

// 16 small integers times a scale (plus an offset) to dst: what every quantised format ends in.
inline Vec from_i8(__m128i q) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)); }
inline void store_scaled16(float* dst, __m128i q, float scale) {
  vstore(dst, vmul(from_i8(q), vset(scale)));
}
inline void store_affine16(float* dst, __m128i q, float scale, float offset) {
  vstore(dst, vfma(from_i8(q), vset(scale), vset(offset)));
}
// What the 16 codes of a nibble stand for. Four bits of each lane select one of 16 floats, so that
// decoding is a table look-up in a register.
struct GridTable {
  Vec values;
};
struct AffineTable {
  Vec values;
};
inline GridTable grid_table(__m128i grid, float scale) {
  return {vmul(from_i8(grid), vset(scale))};
}
inline AffineTable affine_table(float scale, float offset) {
  const __m128i codes = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return {vfma(from_i8(codes), vset(scale), vset(offset))};
}
// The low nibbles of 16 bytes to 16 floats, and the high ones to 16 others.
template <typename Table>
inline void store_nibbles(float* low, float* high, __m128i q, Table of_low, Table of_high) {
  const __m512i codes = _mm512_cvtepu8_epi32(q);
  vstore(low, _mm512_permutexvar_ps(codes, of_low.values));
  vstore(high, _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4), of_high.values));
}
// 16 halves (as bits) times a scale to dst.
// The code's bits moved into a half, whose exponent bias is 8 more; no half is subnormal in f32.
inline Vec vload_f8_e4m3(const uint8_t* p) {
  const __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  // Sign and magnitude where a half has them, with the sign once more in the bit between.
  const __m256i both = _mm256_srai_epi16(_mm256_slli_epi16(wide, 8), 1);
  const __m256i half = _mm256_and_si256(both, _mm256_set1_epi16(static_cast<int16_t>(0xbf80)));
  const __m256i most = _mm256_set1_epi16(0x3f80);
  const __mmask16 nan = _mm256_cmpeq_epi16_mask(_mm256_and_si256(half, most), most);
  const __m256i number =
      _mm256_mask_blend_epi16(nan, half, _mm256_or_si256(half, _mm256_set1_epi16(0x7e00)));
  return vmul(_mm512_cvtph_ps(number), vset(256.0f));
}

}  // namespace
}  // namespace ferry::cpu::avx512
