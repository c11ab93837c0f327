// Bytes and Ints: the integer side of Vec, for AVX-512 with VNNI (include vec_avx512.h first). One
// of two headers with the same names (bytes_avx2.h); int_matmul.h is written against them.
//
//   Bytes   kLanes rows × 4 bytes: lane r holds four neighbours of row r
//   Ints    kLanes int32
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace ferry::cpu::FERRY_ISA {
namespace {

using Bytes = __m512i;
using Ints = __m512i;
constexpr int kTokens = 8;  // register tile: 8 vectors of weights, 8 integer sums, 8 float sums

inline Bytes b_load(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline void b_store(uint8_t* p, Bytes a) { _mm512_store_si512(p, a); }
inline Bytes b_set1(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
inline Bytes b_and(Bytes a, Bytes b) { return _mm512_and_si512(a, b); }
inline Bytes b_or(Bytes a, Bytes b) { return _mm512_or_si512(a, b); }
inline Bytes b_xor(Bytes a, Bytes b) { return _mm512_xor_si512(a, b); }
inline Bytes b_sub(Bytes a, Bytes b) { return _mm512_sub_epi8(a, b); }
// Shifts go by words of 16 bits: the caller masks what came from the neighbour.
template <int N>
inline Bytes b_left(Bytes a) {
  return _mm512_slli_epi16(a, N);
}
template <int N>
inline Bytes b_right(Bytes a) {
  return _mm512_srli_epi16(a, N);
}
// Each byte looks its value up in a table of 16.
inline Bytes b_table(const uint8_t* table) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
}
inline Bytes b_look_up(Bytes table, Bytes codes) { return _mm512_shuffle_epi8(table, codes); }
// `value` in each byte of which one of the bits is set, otherwise 0.
inline Bytes b_where(Bytes a, Bytes bits, int value) {
  return _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(a, bits), b_set1(value));
}

// Bytes [offset, offset + 16) of kLanes rows; vector j of the result holds their dword j.
inline void b_load_rows(const uint8_t* const* rows, int64_t offset, Bytes* out) {
  Bytes v[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    auto load = [&](int row) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[row] + offset));
    };
    v[i] = _mm512_castsi128_si512(load(i));
    v[i] = _mm512_inserti32x4(v[i], load(4 + i), 1);
    v[i] = _mm512_inserti32x4(v[i], load(8 + i), 2);
    v[i] = _mm512_inserti32x4(v[i], load(12 + i), 3);
  }
  const Bytes a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
  const Bytes c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
  out[0] = _mm512_unpacklo_epi64(a, c);
  out[1] = _mm512_unpackhi_epi64(a, c);
  out[2] = _mm512_unpacklo_epi64(b, d);
  out[3] = _mm512_unpackhi_epi64(b, d);
}

template <int N>
inline Ints i_right(Ints a) {
  return _mm512_srli_epi32(a, N);
}
// Byte N of each lane, with its sign.
template <int N>
inline Ints i_signed_byte(Ints a) {
  return _mm512_srai_epi32(_mm512_slli_epi32(a, 24 - 8 * N), 24);
}
inline Ints i_and(Ints a, int mask) { return _mm512_and_si512(a, _mm512_set1_epi32(mask)); }
inline Ints i_or(Ints a, Ints b) { return _mm512_or_si512(a, b); }
inline Ints i_left4(Ints a) { return _mm512_slli_epi32(a, 4); }
inline Ints i_subtract(Ints a, int value) { return _mm512_sub_epi32(a, _mm512_set1_epi32(value)); }
inline Ints i_load(const uint32_t* p) { return _mm512_loadu_si512(p); }
inline Ints i_load_products(const int32_t* p) { return _mm512_load_si512(p); }
inline Vec i_to_floats(Ints a) { return _mm512_cvtepi32_ps(a); }
// The low halves of the lanes, read as f16.
inline Vec i_halves_to_floats(Ints a) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)); }

// Integer dot products: of `Bits`-wide unsigned weights and int8 activations, four at a time.
template <int Bits>
struct Dot {
  static constexpr int kBias = 0;  // what this form takes off each weight
  Ints sum = _mm512_setzero_si512();
  inline void add(Bytes w, const uint8_t* x) {
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    sum = _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(four));
  }
  inline void flush(int) {}
  inline Ints total() const { return sum; }
};

// 16 floats, times a factor, to int8; returns their sum.
inline int32_t quantize16(const float* x, float factor, int8_t* q) {
  const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(vload(x), vset(factor)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm512_cvtsepi32_epi8(rounded));
  return _mm512_reduce_add_epi32(rounded);
}
inline Vec vabs(Vec a) { return _mm512_abs_ps(a); }

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
