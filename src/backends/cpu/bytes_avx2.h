// Bytes and Ints for AVX2; see bytes_avx512vnni.h. Without a dot product of bytes, neighbours are
// multiplied and added to words (vpmaddubsw, which saturates), some of those are added up as far as
// a word holds them, and pairs of words are added to int32. Nothing ever saturates:
//
//   4 bits   2 · 15 · 127 = 3810 a word:    eight fit
//   5 bits   2 · 31 · 127 = 7874:           four
//   6 bits   2 · 63 · 127 = 16002:          two
//   8 bits   |w − 128| times x with the sign of w − 128: at most 2 · 128 · 127 = 32512: one
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "backends/cpu/rows_ahead.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

using Bytes = __m256i;
using Ints = __m256i;
constexpr int kTokens = 4;
constexpr int kStrips = 1;  // there are but 16 registers
constexpr int kStripTokens = 4;

inline Bytes b_load(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline void b_store(uint8_t* p, Bytes a) { _mm256_store_si256(reinterpret_cast<__m256i*>(p), a); }
inline Bytes b_set1(int value) { return _mm256_set1_epi8(static_cast<char>(value)); }
inline Bytes b_and(Bytes a, Bytes b) { return _mm256_and_si256(a, b); }
inline Bytes b_or(Bytes a, Bytes b) { return _mm256_or_si256(a, b); }
inline Bytes b_xor(Bytes a, Bytes b) { return _mm256_xor_si256(a, b); }
inline Bytes b_sub(Bytes a, Bytes b) { return _mm256_sub_epi8(a, b); }
template <int N>
inline Bytes b_left(Bytes a) {
  return _mm256_slli_epi16(a, N);
}
template <int N>
inline Bytes b_right(Bytes a) {
  return _mm256_srli_epi16(a, N);
}
inline Bytes b_table(const uint8_t* table) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
}
inline Bytes b_look_up(Bytes table, Bytes codes) { return _mm256_shuffle_epi8(table, codes); }
inline Bytes b_where(Bytes a, Bytes bits, int value) {
  const Bytes none = _mm256_cmpeq_epi8(_mm256_and_si256(a, bits), _mm256_setzero_si256());
  return _mm256_andnot_si256(none, b_set1(value));
}
inline Bytes b_negate_where(Bytes a, Bytes bits) {
  const Bytes none = _mm256_cmpeq_epi8(bits, _mm256_setzero_si256());
  return _mm256_sign_epi8(a, b_xor(none, b_set1(0xfe)));
}

// Those of row 4 b + i in half b of vector i.
template <typename Piece>
[[gnu::always_inline]] inline void b_quads_of(Rows rows, int64_t offset, Piece piece, Bytes* out) {
  const uint8_t* p = rows.data + offset;
  auto load = [&](int row) {
    const auto v = reinterpret_cast<__m128i>(piece(p + row * rows.stride));
    if (row == 1) p = next_two(p, rows.stride);
    return v;
  };
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) out[i] = _mm256_castsi128_si256(load(i % 2));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) out[i] = _mm256_inserti128_si256(out[i], load(i % 2), 1);
}
[[gnu::always_inline]] inline void b_load_quads(Rows rows, int64_t offset, Bytes* out) {
  ask_for_next<16>(rows, offset);
  const auto load = [](const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  };
  b_quads_of(rows, offset, load, out);
}
[[gnu::always_inline]] inline void b_turn_quads(const Bytes* v, Bytes* out) {
  const Bytes a = _mm256_unpacklo_epi32(v[0], v[1]), b = _mm256_unpackhi_epi32(v[0], v[1]);
  const Bytes c = _mm256_unpacklo_epi32(v[2], v[3]), d = _mm256_unpackhi_epi32(v[2], v[3]);
  out[0] = _mm256_unpacklo_epi64(a, c);
  out[1] = _mm256_unpackhi_epi64(a, c);
  out[2] = _mm256_unpacklo_epi64(b, d);
  out[3] = _mm256_unpackhi_epi64(b, d);
}
[[gnu::always_inline]] inline void b_load_rows(Rows rows, int64_t offset, Bytes* out) {
  Bytes v[4];
  b_load_quads(rows, offset, v);
  b_turn_quads(v, out);
}
inline Ints i_add_quads(Ints v0, Ints v1, Ints v2, Ints v3) {
  const Ints a = _mm256_add_epi32(_mm256_unpacklo_epi32(v0, v1), _mm256_unpackhi_epi32(v0, v1));
  const Ints b = _mm256_add_epi32(_mm256_unpacklo_epi32(v2, v3), _mm256_unpackhi_epi32(v2, v3));
  return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

using Words = __m128i;
[[gnu::always_inline]] inline Words w_load_rows(Rows rows, int64_t offset) {
  ask_for_next<2>(rows, offset);
  const uint8_t* p = rows.data + offset;
  const auto four = [&] { return static_cast<long long>(four_halves(p, rows.stride)); };
  const long long a = four(), b = four();
  return _mm_set_epi64x(b, a);
}
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
  const Ints low = _mm256_castsi128_si256(four());
  return _mm256_inserti128_si256(low, four(), 1);
}
inline Words w_load(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
inline Ints i_load_bytes(const uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline Vec w_halves_to_floats(Words a) { return _mm256_cvtph_ps(a); }
inline Ints w_to_ints(Words a) { return _mm256_cvtepu16_epi32(a); }

template <int N>
inline Ints i_right(Ints a) {
  return _mm256_srli_epi32(a, N);
}
template <int N>
inline Ints i_signed_byte(Ints a) {
  return _mm256_srai_epi32(_mm256_slli_epi32(a, 24 - 8 * N), 24);
}
inline Ints i_and(Ints a, int mask) { return _mm256_and_si256(a, _mm256_set1_epi32(mask)); }
inline Ints i_or(Ints a, Ints b) { return _mm256_or_si256(a, b); }
template <int N>
inline Ints i_left(Ints a) {
  return _mm256_slli_epi32(a, N);
}
inline Ints i_add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
inline Ints i_max(Ints a, Ints b) { return _mm256_max_epi32(a, b); }
inline Ints i_min(Ints a, Ints b) { return _mm256_min_epi32(a, b); }
inline Ints i_set1(int32_t value) { return _mm256_set1_epi32(value); }
inline Ints i_zero() { return _mm256_setzero_si256(); }
inline Ints i_subtract(Ints a, int value) { return _mm256_sub_epi32(a, _mm256_set1_epi32(value)); }
inline Ints i_load_products(const int32_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}
inline void i_store_products(int32_t* p, Ints a) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(p), a);
}
inline Vec i_to_floats(Ints a) { return _mm256_cvtepi32_ps(a); }
inline Vec i_as_floats(Ints a) { return _mm256_castsi256_ps(a); }
inline Vec i_halves_to_floats(Ints a) {
  const Ints low = i_and(a, 0xffff);
  const Ints packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
  return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
}

inline Bytes b_set4(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return _mm256_set1_epi32(four);
}
inline Bytes b_set16(const uint8_t* p) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

inline Ints i_add_words(Ints sum, __m256i words) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
}
template <int Bits>
struct Dot {
  static constexpr int kBias = Bits == 8 ? 128 : 0;
  static constexpr int kWords = Bits <= 4 ? 8 : Bits == 5 ? 4 : Bits == 6 ? 2 : 1;
  __m256i words;
  Ints sum;
  inline void start(Ints from) {
    words = _mm256_setzero_si256();
    sum = from;
  }
  inline void add(Bytes w, Bytes x) {
    if constexpr (Bits == 8) {
      const __m256i centred = b_xor(w, b_set1(0x80));
      const __m256i with_sign = _mm256_sign_epi8(x, centred);
      sum = i_add_words(sum, _mm256_maddubs_epi16(_mm256_abs_epi8(centred), with_sign));
    } else {
      words = _mm256_add_epi16(words, _mm256_maddubs_epi16(w, x));
    }
  }
  // After so many products, a multiple of two: empties the words when they are full.
  inline void flush(int done) {
    if (Bits == 8 || done % kWords != 0) return;
    sum = i_add_words(sum, words);
    words = _mm256_setzero_si256();
  }
  inline Ints total() const { return Bits < 8 ? i_add_words(sum, words) : sum; }
};

inline int32_t quantize16(const float* x, float factor, int8_t* q) {
  const __m256i a = _mm256_cvtps_epi32(vmul(vload(x), vset(factor)));
  const __m256i b = _mm256_cvtps_epi32(vmul(vload(x + 8), vset(factor)));
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
  const __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q), bytes);
  const __m256i sums = _mm256_add_epi32(a, b);
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
  return _mm_cvtsi128_si32(s);
}
inline Vec vabs(Vec a) { return _mm256_andnot_ps(vset(-0.0f), a); }

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
