// Vec: 4 floats in a NEON register; every AArch64 processor has it. See vec_avx512.h for the rules.
#pragma once

#include <arm_neon.h>
#include <stdint.h>

#define FERRY_ISA neon

namespace ferry::cpu::neon {
namespace {

using Vec = float32x4_t;
constexpr int kLanes = 4;
constexpr int kGemmRows = 6;  // 32 registers: 24 sums, 4 of B, one of A
constexpr int kGemmVectors = 4;
constexpr int kDotRows = 4;
constexpr int kDotTokens = 5;
constexpr int kScoreKeys = 4;
constexpr int kValueVectors = 4;

inline Vec vzero() { return vdupq_n_f32(0); }
inline Vec vset(float x) { return vdupq_n_f32(x); }
inline Vec vload(const float* p) { return vld1q_f32(p); }
inline void vstore(float* p, Vec a) { vst1q_f32(p, a); }
inline Vec vload_first(const float* p, int n) {
  float lanes[kLanes] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return vld1q_f32(lanes);
}
inline void vstore_first(float* p, Vec a, int n) {
  float lanes[kLanes];
  vst1q_f32(lanes, a);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
}

inline Vec vadd(Vec a, Vec b) { return vaddq_f32(a, b); }
inline Vec vsub(Vec a, Vec b) { return vsubq_f32(a, b); }
inline Vec vmul(Vec a, Vec b) { return vmulq_f32(a, b); }
inline Vec vdiv(Vec a, Vec b) { return vdivq_f32(a, b); }
inline Vec vfma(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
// As on x86, b where one of them is NaN; FMAX would return the NaN.
inline Vec vmax(Vec a, Vec b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
inline Vec vmin(Vec a, Vec b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
inline Vec vzero_below(Vec a, Vec x, Vec bound) {
  return vbslq_f32(vcltq_f32(x, bound), vzero(), a);
}
inline Vec vkeep_first(Vec a, int n, float other) {
  const int32_t order[kLanes] = {0, 1, 2, 3};
  return vbslq_f32(vcltq_s32(vld1q_s32(order), vdupq_n_s32(n)), a, vset(other));
}
inline Vec vpow2(Vec n) {
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
}

// Lanes 0 + 2 and 1 + 3, then both.
inline float vsum(Vec a) {
  const float32x2_t halves = vadd_f32(vget_low_f32(a), vget_high_f32(a));
  return vget_lane_f32(halves, 0) + vget_lane_f32(halves, 1);
}
inline float vlargest(Vec a) {
  const float32x2_t low = vget_low_f32(a), high = vget_high_f32(a);
  const float32x2_t two = vbsl_f32(vcgt_f32(low, high), low, high);
  const float first = vget_lane_f32(two, 0), second = vget_lane_f32(two, 1);
  return first > second ? first : second;
}

inline Vec vload_f16(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
inline Vec vload_bf16(const uint16_t* p) {
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
inline void vstore_f16(uint16_t* p, Vec a) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a))); }
inline void vstore_bf16(uint16_t* p, Vec a) {
  const uint32x4_t bits = vreinterpretq_u32_f32(a);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  vst1_u16(p, vshrn_n_u32(vbslq_u32(vceqq_f32(a, a), up, quiet), 16));
}

}  // namespace
}  // namespace ferry::cpu::neon
