// Kernels that walk along one row (include a vec_*.h first). Reductions run in four chains over
// vectors, then a fixed tree; the rest is element by element with the same operations in full and
// ragged vectors, so that a value never depends on where it stands.
#pragma once

#include "backends/cpu/kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

// e^x to about 1 ulp for x in [-87.3, 88.3]; 0 below, infinity above; NaN stays. x = n ln 2 + r
// with |r| <= ln 2 / 2, then the Taylor series of e^r to the seventh power (its error is 5e-9 of
// the result). From 88.4 on n is 128, and 2^n is built as the bits of infinity.
inline Vec vexp(Vec x) {
  const Vec lowest = vset(-87.33654f);
  const Vec clamped = vmin(vset(88.7f), vmax(lowest, x));
  // Adding 1.5 · 2^23 leaves no bits for a fraction: rounds to the nearest integer.
  const Vec round = vset(12582912.0f);
  const Vec n = vsub(vadd(vmul(clamped, vset(1.44269504f)), round), round);
  Vec r = vsub(clamped, vmul(n, vset(0.693145751953125f)));  // 17 bits: the product is exact
  r = vsub(r, vmul(n, vset(1.42860682e-6f)));
  Vec sum = vset(1.0f / 5040);
  sum = vfma(sum, r, vset(1.0f / 720));
  sum = vfma(sum, r, vset(1.0f / 120));
  sum = vfma(sum, r, vset(1.0f / 24));
  sum = vfma(sum, r, vset(1.0f / 6));
  sum = vfma(sum, r, vset(0.5f));
  sum = vfma(sum, r, vset(1.0f));
  sum = vfma(sum, r, vset(1.0f));
  return vzero_below(vmul(sum, vpow2(n)), x, lowest);
}

inline float exp_one(float x) {
  float lanes[kLanes];
  vstore(lanes, vexp(vset(x)));
  return lanes[0];
}

inline void softmax_row(const SoftmaxRow& row) {
  constexpr int64_t kVectors = kKeyTile / kLanes;
  static_assert(kKeyTile % kLanes == 0);
  const Vec scale = vset(row.scale);
  const float minus_infinity = -__builtin_inff();
  Vec largest = vset(minus_infinity);
  Vec scores[kVectors];
  for (int64_t v = 0; v < kVectors; ++v) {
    const int64_t left = row.num_keys - v * kLanes;
    if (left <= 0) {
      scores[v] = vset(minus_infinity);
      continue;
    }
    scores[v] = vmul(vload(row.scores + v * kLanes), scale);
    if (left < kLanes) scores[v] = vkeep_first(scores[v], static_cast<int>(left), minus_infinity);
    largest = vmax(scores[v], largest);
  }
  const float of_tile = vlargest(largest);
  const float before = row.first ? minus_infinity : *row.largest;
  const float now = of_tile > before ? of_tile : before;
  const Vec shift = vset(now);
  Vec sum = vzero();
  for (int64_t v = 0; v < kVectors; ++v) {
    const Vec p = vexp(vsub(scores[v], shift));
    sum = vadd(sum, p);
    vstore(row.scores + v * kLanes, p);
  }
  *row.largest = now;
  if (row.first) {
    *row.sum = vsum(sum);
    for (int64_t i = 0; i < row.size; ++i) row.out[i] = 0;
    return;
  }
  if (now == before) {  // the factor is exactly 1
    *row.sum += vsum(sum);
    return;
  }
  const float factor = exp_one(before - now);
  *row.sum = *row.sum * factor + vsum(sum);
  int64_t i = 0;
  for (; i + kLanes <= row.size; i += kLanes) {
    vstore(row.out + i, vmul(vload(row.out + i), vset(factor)));
  }
  for (; i < row.size; ++i) row.out[i] *= factor;
}

inline void rms_norm(const float* x, const float* weight, float epsilon, float* out, int64_t n) {
  Vec sums[4] = {vzero(), vzero(), vzero(), vzero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const Vec value = vload(x + i + c * kLanes);
      sums[c] = vfma(value, value, sums[c]);
    }
  }
  for (int c = 0; i < n; i += kLanes, ++c) {
    const int64_t left = n - i;
    const Vec value = left < kLanes ? vload_first(x + i, static_cast<int>(left)) : vload(x + i);
    sums[c] = vfma(value, value, sums[c]);
  }
  const float sum = vsum(vadd(vadd(sums[0], sums[1]), vadd(sums[2], sums[3])));
  const float factor = 1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + epsilon);
  for (i = 0; i + kLanes <= n; i += kLanes) {
    vstore(out + i, vmul(vmul(vload(x + i), vset(factor)), vload(weight + i)));
  }
  for (; i < n; ++i) out[i] = x[i] * factor * weight[i];
}

inline void add(const float* a, const float* b, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}

inline void multiply(const float* x, float factor, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * factor;
}

inline Vec vswiglu(Vec gate, Vec up) {
  const Vec denominator = vadd(vset(1.0f), vexp(vsub(vzero(), gate)));
  return vmul(vdiv(gate, denominator), up);
}

inline void swiglu(const float* gate, const float* up, float* out, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) vstore(out + i, vswiglu(vload(gate + i), vload(up + i)));
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    vstore_first(out + i, vswiglu(vload_first(gate + i, rest), vload_first(up + i, rest)), rest);
  }
}

inline void weighted_sum(const float* const* rows, const float* weights, int64_t k, float* out,
                         int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int rest = n - i < kLanes ? static_cast<int>(n - i) : kLanes;
    Vec sum = vzero();
    for (int64_t j = 0; j < k; ++j) {
      const float* p = rows[j] + i;
      sum = vfma(vset(weights[j]), rest < kLanes ? vload_first(p, rest) : vload(p), sum);
    }
    if (rest < kLanes) {
      vstore_first(out + i, sum, rest);
    } else {
      vstore(out + i, sum);
    }
  }
}

inline void rope_half(float* x, const float* cosine, const float* sine, int64_t half) {
  float* first = x;
  float* second = x + half;
  for (int64_t i = 0; i < half; ++i) {
    const float a = first[i];
    const float b = second[i];
    first[i] = a * cosine[i] - b * sine[i];
    second[i] = a * sine[i] + b * cosine[i];
  }
}

inline void rope_interleaved(float* x, const float* cosine, const float* sine, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[2 * i];
    const float b = x[2 * i + 1];
    x[2 * i] = a * cosine[i] - b * sine[i];
    x[2 * i + 1] = a * sine[i] + b * cosine[i];
  }
}

inline void to_f32(const uint16_t* src, Dtype dtype, float* dst, int64_t n) {
  const bool f16 = dtype == Dtype::kF16;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    vstore(dst + i, f16 ? vload_f16(src + i) : vload_bf16(src + i));
  if (i == n) return;
  uint16_t halves[kLanes] = {};
  __builtin_memcpy(halves, src + i, static_cast<size_t>(n - i) * sizeof(uint16_t));
  vstore_first(dst + i, f16 ? vload_f16(halves) : vload_bf16(halves), static_cast<int>(n - i));
}

inline void from_f32(const float* src, Dtype dtype, uint16_t* dst, int64_t n) {
  const bool f16 = dtype == Dtype::kF16;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    f16 ? vstore_f16(dst + i, vload(src + i)) : vstore_bf16(dst + i, vload(src + i));
  }
  if (i == n) return;
  const Vec rest = vload_first(src + i, static_cast<int>(n - i));
  uint16_t halves[kLanes];
  f16 ? vstore_f16(halves, rest) : vstore_bf16(halves, rest);
  __builtin_memcpy(dst + i, halves, static_cast<size_t>(n - i) * sizeof(uint16_t));
}

inline void scale_int8(const int8_t* src, float scale, float* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = static_cast<float>(src[i]) * scale;
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
