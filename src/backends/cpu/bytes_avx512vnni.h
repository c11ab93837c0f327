// Bytes and Ints: the integer side of Vec, for AVX-512 with VNNI (include vec_avx512.h first). One
// of two headers with the same names (bytes_avx2.h); int_matmul.h is written against them.
//
//   Bytes   kLanes rows × 4 bytes: lane r holds four neighbours of row r
//   Ints    kLanes int32
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "backends/cpu/rows_ahead.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

using Bytes = __m512i;
using Ints = __m512i;
// Register tiles of int_matmul.h: one strip × kTokens, or two strips × kStripTokens, of integer
// sums and as many float sums.
constexpr int kTokens = 8;
constexpr int kStrips = 2;
constexpr int kStripTokens = 6;

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
// Minus `a` in each byte of `bits` that is not zero.
inline Bytes b_negate_where(Bytes a, Bytes bits) {
  return _mm512_mask_sub_epi8(a, _mm512_test_epi8_mask(bits, bits), _mm512_setzero_si512(), a);
}

// 16 bytes of each of kLanes rows, piece(p) with p at `offset` bytes from the start of the row:
// those of row 4 b + i in quarter b of vector i.
template <typename Piece>
[[gnu::always_inline]] inline void b_quads_of(Rows rows, int64_t offset, Piece piece, Bytes* out) {
  const uint8_t* p = rows.data + offset;
  auto load = [&](int row) {
    const auto v = reinterpret_cast<__m128i>(piece(p + row * rows.stride));
    if (row == 1) p = next_two(p, rows.stride);
    return v;
  };
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) out[i] = _mm512_castsi128_si512(load(i % 2));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) out[i] = _mm512_inserti32x4(out[i], load(i % 2), 1);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) out[i] = _mm512_inserti32x4(out[i], load(i % 2), 2);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) out[i] = _mm512_inserti32x4(out[i], load(i % 2), 3);
}
// The bytes that lie there themselves.
[[gnu::always_inline]] inline void b_load_quads(Rows rows, int64_t offset, Bytes* out) {
  ask_for_next<16>(rows, offset);
  const auto load = [](const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  };
  b_quads_of(rows, offset, load, out);
}
// The same bytes turned: vector j holds dword j of each row.
[[gnu::always_inline]] inline void b_turn_quads(const Bytes* v, Bytes* out) {
  const Bytes a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
  const Bytes c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
  out[0] = _mm512_unpacklo_epi64(a, c);
  out[1] = _mm512_unpackhi_epi64(a, c);
  out[2] = _mm512_unpacklo_epi64(b, d);
  out[3] = _mm512_unpackhi_epi64(b, d);
}
[[gnu::always_inline]] inline void b_load_rows(Rows rows, int64_t offset, Bytes* out) {
  Bytes v[4];
  b_load_quads(rows, offset, v);
  b_turn_quads(v, out);
}
// Four quads, each row's dwords added up: lane r belongs to row r.
inline Ints i_add_quads(Ints v0, Ints v1, Ints v2, Ints v3) {
  const Ints a = _mm512_add_epi32(_mm512_unpacklo_epi32(v0, v1), _mm512_unpackhi_epi32(v0, v1));
  const Ints b = _mm512_add_epi32(_mm512_unpacklo_epi32(v2, v3), _mm512_unpackhi_epi32(v2, v3));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

// 16 bits of each row.
using Words = __m256i;
[[gnu::always_inline]] inline Words w_load_rows(Rows rows, int64_t offset) {
  ask_for_next<2>(rows, offset);
  const uint8_t* p = rows.data + offset;
  const auto four = [&] { return static_cast<long long>(four_halves(p, rows.stride)); };
  const long long a = four(), b = four(), c = four(), d = four();
  return _mm256_setr_epi64x(a, b, c, d);
}
// 32 bits of each row.
[[gnu::always_inline]] inline Ints i_load_rows(Rows rows, int64_t offset) {
  ask_for_next<4>(rows, offset);
  const uint8_t* p = rows.data + offset;
  auto four = [&] {
    int32_t dwords[4];
#pragma GCC unroll 2
    for (int i = 0; i < 4; i += 2) {
      __builtin_memcpy(dwords + i, p, sizeof(int32_t));
      __builtin_memcpy(dwords + i + 1, p + rows.stride, sizeof(int32_t));
      p = next_two(p, rows.stride);
    }
    return _mm_setr_epi32(dwords[0], dwords[1], dwords[2], dwords[3]);
  };
  Ints all = _mm512_castsi128_si512(four());
  all = _mm512_inserti32x4(all, four(), 1);
  all = _mm512_inserti32x4(all, four(), 2);
  return _mm512_inserti32x4(all, four(), 3);
}
// 16 bits of each lane, and a byte of each.
inline Words w_load(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline Ints i_load_bytes(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Vec w_halves_to_floats(Words a) { return _mm512_cvtph_ps(a); }
inline Ints w_to_ints(Words a) { return _mm512_cvtepu16_epi32(a); }

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
template <int N>
inline Ints i_left(Ints a) {
  return _mm512_slli_epi32(a, N);
}
inline Ints i_add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
inline Ints i_max(Ints a, Ints b) { return _mm512_max_epi32(a, b); }
inline Ints i_min(Ints a, Ints b) { return _mm512_min_epi32(a, b); }
inline Ints i_set1(int32_t value) { return _mm512_set1_epi32(value); }
inline Ints i_zero() { return _mm512_setzero_si512(); }
inline Ints i_subtract(Ints a, int value) { return _mm512_sub_epi32(a, _mm512_set1_epi32(value)); }
inline Ints i_load_products(const int32_t* p) { return _mm512_load_si512(p); }
inline void i_store_products(int32_t* p, Ints a) { _mm512_store_si512(p, a); }
inline Vec i_to_floats(Ints a) { return _mm512_cvtepi32_ps(a); }
inline Vec i_as_floats(Ints a) { return _mm512_castsi512_ps(a); }
// The low halves of the lanes, read as f16.
inline Vec i_halves_to_floats(Ints a) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)); }

// 4 bytes for all lanes, 16 bytes for all quarters.
inline Bytes b_set4(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return _mm512_set1_epi32(four);
}
inline Bytes b_set16(const uint8_t* p) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

// Integer dot products: of `Bits`-wide unsigned weights and int8 activations, four at a time.
template <int Bits>
struct Dot {
  static constexpr int kBias = 0;  // what this form takes off each weight
  Ints sum;
  inline void start(Ints from) { sum = from; }
  inline void add(Bytes w, Bytes x) { sum = _mm512_dpbusd_epi32(sum, w, x); }
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
