// Bytes and Ints for NEON; see bytes_avx512vnni.h. A quad is a whole vector here, so that row i is
// vector i where the others keep rows 4 b + i. Dot products are of signed bytes, those of the
// processor where this is compiled for one that has them; otherwise products of two bytes are
// words, whose pairs are added up: at most 2 · 128 · 127 = 32512.
#pragma once

#include <arm_neon.h>
#include <stdint.h>

#include "backends/cpu/rows_ahead.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

using Bytes = int32x4_t;
using Ints = int32x4_t;
constexpr int kTokens = 8;
constexpr int kStrips = 2;
constexpr int kStripTokens = 6;

inline uint8x16_t as_u8(Bytes a) { return vreinterpretq_u8_s32(a); }
inline int8x16_t as_s8(Bytes a) { return vreinterpretq_s8_s32(a); }
inline uint16x8_t as_u16(Bytes a) { return vreinterpretq_u16_s32(a); }
inline uint32x4_t as_u32(Ints a) { return vreinterpretq_u32_s32(a); }
inline Bytes as_bytes(uint8x16_t a) { return vreinterpretq_s32_u8(a); }

inline Bytes b_load(const uint8_t* p) { return as_bytes(vld1q_u8(p)); }
inline void b_store(uint8_t* p, Bytes a) { vst1q_u8(p, as_u8(a)); }
inline Bytes b_set1(int value) { return as_bytes(vdupq_n_u8(static_cast<uint8_t>(value))); }
inline Bytes b_and(Bytes a, Bytes b) { return vandq_s32(a, b); }
inline Bytes b_or(Bytes a, Bytes b) { return vorrq_s32(a, b); }
inline Bytes b_xor(Bytes a, Bytes b) { return veorq_s32(a, b); }
inline Bytes b_sub(Bytes a, Bytes b) { return as_bytes(vsubq_u8(as_u8(a), as_u8(b))); }
template <int N>
inline Bytes b_left(Bytes a) {
  return vreinterpretq_s32_u16(vshlq_n_u16(as_u16(a), N));
}
template <int N>
inline Bytes b_right(Bytes a) {
  return vreinterpretq_s32_u16(vshrq_n_u16(as_u16(a), N));
}
inline Bytes b_table(const uint8_t* table) { return b_load(table); }
inline Bytes b_look_up(Bytes table, Bytes codes) {
  return as_bytes(vqtbl1q_u8(as_u8(table), as_u8(codes)));
}
inline Bytes b_where(Bytes a, Bytes bits, int value) {
  return b_and(as_bytes(vtstq_u8(as_u8(a), as_u8(bits))), b_set1(value));
}
inline Bytes b_negate_where(Bytes a, Bytes bits) {
  const uint8x16_t negative = vreinterpretq_u8_s8(vnegq_s8(as_s8(a)));
  return as_bytes(vbslq_u8(vtstq_u8(as_u8(bits), as_u8(bits)), negative, as_u8(a)));
}

template <typename Piece>
[[gnu::always_inline]] inline void b_quads_of(Rows rows, int64_t offset, Piece piece, Bytes* out) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    out[i] = reinterpret_cast<Bytes>(piece(rows.data + offset + i * rows.stride));
  }
}
[[gnu::always_inline]] inline void b_load_quads(Rows rows, int64_t offset, Bytes* out) {
  ask_for_next<16>(rows, offset);
  b_quads_of(rows, offset, b_load, out);
}
[[gnu::always_inline]] inline void b_turn_quads(const Bytes* v, Bytes* out) {
  const Bytes a = vzip1q_s32(v[0], v[2]), b = vzip2q_s32(v[0], v[2]);
  const Bytes c = vzip1q_s32(v[1], v[3]), d = vzip2q_s32(v[1], v[3]);
  out[0] = vzip1q_s32(a, c);
  out[1] = vzip2q_s32(a, c);
  out[2] = vzip1q_s32(b, d);
  out[3] = vzip2q_s32(b, d);
}
[[gnu::always_inline]] inline void b_load_rows(Rows rows, int64_t offset, Bytes* out) {
  Bytes v[4];
  b_load_quads(rows, offset, v);
  b_turn_quads(v, out);
}
inline Ints i_add_quads(Ints v0, Ints v1, Ints v2, Ints v3) {
  return vpaddq_s32(vpaddq_s32(v0, v1), vpaddq_s32(v2, v3));
}

using Words = uint16x4_t;
[[gnu::always_inline]] inline Words w_load_rows(Rows rows, int64_t offset) {
  ask_for_next<2>(rows, offset);
  const uint8_t* p = rows.data + offset;
  return vcreate_u16(four_halves(p, rows.stride));
}
[[gnu::always_inline]] inline Ints i_load_rows(Rows rows, int64_t offset) {
  ask_for_next<4>(rows, offset);
  int32_t dwords[kLanes];
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; ++i) {
    __builtin_memcpy(dwords + i, rows.data + offset + i * rows.stride, sizeof *dwords);
  }
  return vld1q_s32(dwords);
}
inline Words w_load(const uint8_t* p) {
  uint64_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return vcreate_u16(four);
}
inline Ints i_load_bytes(const uint8_t* p) {
  uint32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  const uint8x8_t bytes = vcreate_u8(four);
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
}
inline Vec w_halves_to_floats(Words a) { return vcvt_f32_f16(vreinterpret_f16_u16(a)); }
inline Ints w_to_ints(Words a) { return vreinterpretq_s32_u32(vmovl_u16(a)); }

template <int N>
inline Ints i_right(Ints a) {
  if constexpr (N == 0) {
    return a;
  } else {
    return vreinterpretq_s32_u32(vshrq_n_u32(as_u32(a), N));
  }
}
template <int N>
inline Ints i_signed_byte(Ints a) {
  return vshrq_n_s32(vshlq_n_s32(a, 24 - 8 * N), 24);
}
inline Ints i_and(Ints a, int mask) { return vandq_s32(a, vdupq_n_s32(mask)); }
inline Ints i_or(Ints a, Ints b) { return vorrq_s32(a, b); }
template <int N>
inline Ints i_left(Ints a) {
  return vshlq_n_s32(a, N);
}
inline Ints i_add(Ints a, Ints b) { return vaddq_s32(a, b); }
inline Ints i_max(Ints a, Ints b) { return vmaxq_s32(a, b); }
inline Ints i_min(Ints a, Ints b) { return vminq_s32(a, b); }
inline Ints i_set1(int32_t value) { return vdupq_n_s32(value); }
inline Ints i_zero() { return vdupq_n_s32(0); }
inline Ints i_subtract(Ints a, int value) { return vsubq_s32(a, vdupq_n_s32(value)); }
inline Ints i_load_products(const int32_t* p) { return vld1q_s32(p); }
inline void i_store_products(int32_t* p, Ints a) { vst1q_s32(p, a); }
inline Vec i_to_floats(Ints a) { return vcvtq_f32_s32(a); }
inline Vec i_as_floats(Ints a) { return vreinterpretq_f32_s32(a); }
inline Vec i_halves_to_floats(Ints a) { return w_halves_to_floats(vmovn_u32(as_u32(a))); }

inline Bytes b_set4(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return vdupq_n_s32(four);
}
inline Bytes b_set16(const uint8_t* p) { return b_load(p); }

inline Ints i_add_products(Ints sum, int8x16_t w, int8x16_t x) {
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(sum, w, x);
#else
  const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
  return vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(w, x)));
#endif
}
template <int Bits>
struct Dot {
  static constexpr int kBias = Bits == 8 ? 128 : 0;  // eight bits need it to be signed
  Ints sum;
  inline void start(Ints from) { sum = from; }
  inline void add(Bytes w, Bytes x) {
    sum = i_add_products(sum, as_s8(Bits == 8 ? b_xor(w, b_set1(0x80)) : w), as_s8(x));
  }
  inline void flush(int) {}
  inline Ints total() const { return sum; }
};

inline int32_t quantize16(const float* x, float factor, int8_t* q) {
  int32x4_t rounded[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) rounded[i] = vcvtnq_s32_f32(vmul(vload(x + 4 * i), vset(factor)));
  const int16x8_t low = vcombine_s16(vqmovn_s32(rounded[0]), vqmovn_s32(rounded[1]));
  const int16x8_t high = vcombine_s16(vqmovn_s32(rounded[2]), vqmovn_s32(rounded[3]));
  vst1q_s8(q, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
  return vaddvq_s32(i_add(i_add(rounded[0], rounded[1]), i_add(rounded[2], rounded[3])));
}
inline Vec vabs(Vec a) { return vabsq_f32(a); }

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
