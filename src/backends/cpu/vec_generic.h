// Vec: 4 floats in the compiler's own vector type, for any processor; products are rounded before
// they are added. See vec_avx512.h for the rules. Conversions of halves go one by one through
// base/half.h, whose functions are safe here: this is the baseline instruction set.
#pragma once

#include <stdint.h>

#include "base/half.h"

#define FERRY_ISA generic

namespace ferry::cpu::generic {
namespace {

typedef float Vec __attribute__((vector_size(16)));
typedef int32_t IntVec __attribute__((vector_size(16)));
constexpr int kLanes = 4;
constexpr int kGemmRows = 4;
constexpr int kGemmVectors = 2;
constexpr int kDotRows = 3;
constexpr int kDotTokens = 2;
constexpr int kScoreKeys = 2;
constexpr int kValueVectors = 2;

inline Vec vzero() { return Vec{0, 0, 0, 0}; }
inline Vec vset(float x) { return Vec{x, x, x, x}; }
inline Vec vload(const float* p) {
  Vec a;
  __builtin_memcpy(&a, p, sizeof a);
  return a;
}
inline void vstore(float* p, Vec a) { __builtin_memcpy(p, &a, sizeof a); }
inline Vec vload_first(const float* p, int n) {
  Vec a = vzero();
  for (int i = 0; i < n; ++i) a[i] = p[i];
  return a;
}
inline void vstore_first(float* p, Vec a, int n) {
  for (int i = 0; i < n; ++i) p[i] = a[i];
}

inline Vec vadd(Vec a, Vec b) { return a + b; }
inline Vec vsub(Vec a, Vec b) { return a - b; }
inline Vec vmul(Vec a, Vec b) { return a * b; }
inline Vec vdiv(Vec a, Vec b) { return a / b; }
inline Vec vfma(Vec a, Vec b, Vec c) { return a * b + c; }
inline Vec vmax(Vec a, Vec b) { return a > b ? a : b; }
inline Vec vmin(Vec a, Vec b) { return a < b ? a : b; }
inline Vec vzero_below(Vec a, Vec x, Vec bound) { return x < bound ? vzero() : a; }
inline Vec vkeep_first(Vec a, int n, float other) {
  for (int i = n; i < kLanes; ++i) a[i] = other;
  return a;
}
inline Vec vpow2(Vec n) {
  const IntVec exponent = __builtin_convertvector(n, IntVec) + 127;
  return reinterpret_cast<Vec>(exponent << 23);
}

inline float vsum(Vec a) { return (a[0] + a[2]) + (a[1] + a[3]); }
inline float vlargest(Vec a) {
  float largest = a[0];
  for (int i = 1; i < kLanes; ++i) largest = a[i] > largest ? a[i] : largest;
  return largest;
}

inline Vec vload_f16(const uint16_t* p) {
  return Vec{f16_to_f32(p[0]), f16_to_f32(p[1]), f16_to_f32(p[2]), f16_to_f32(p[3])};
}
inline Vec vload_bf16(const uint16_t* p) {
  return Vec{bf16_to_f32(p[0]), bf16_to_f32(p[1]), bf16_to_f32(p[2]), bf16_to_f32(p[3])};
}
inline void vstore_f16(uint16_t* p, Vec a) {
  for (int i = 0; i < kLanes; ++i) p[i] = f32_to_f16(a[i]);
}
inline void vstore_bf16(uint16_t* p, Vec a) {
  for (int i = 0; i < kLanes; ++i) p[i] = f32_to_bf16(a[i]);
}

}  // namespace
}  // namespace ferry::cpu::generic
