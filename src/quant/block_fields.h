// Reading and writing the fields of a block: what the files in quant/formats/ share.
//
// Everything here is written so that the loops around it vectorise at the baseline instruction set:
// no branch per element, fixed trip counts, and no dependence on the rounding or denormal mode of
// the thread beyond round-to-nearest.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/half.h"

namespace ferry::quant {

inline constexpr float kF16Max = 65504.0f;

inline uint16_t load_u16(const uint8_t* p) {
  uint16_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
inline uint32_t load_u32(const uint8_t* p) {
  uint32_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
inline float load_f16(const uint8_t* p) { return f16_to_f32(load_u16(p)); }

inline void store_u16(uint8_t* p, uint16_t value) { std::memcpy(p, &value, sizeof value); }

// Stores the nearest finite half and returns the value that a decoder will see: the encoders choose
// their codes for that one, not for the scale they had in mind.
inline float store_f16(uint8_t* p, float value) {
  const uint16_t half = f32_to_f16(std::clamp(value, -kF16Max, kF16Max));
  store_u16(p, half);
  return f16_to_f32(half);
}

// 1/scale, or 0 for a scale of 0 (every code then stands for the same number).
inline float inverse_or_zero(float scale) { return scale == 0.0f ? 0.0f : 1.0f / scale; }

// The nearest integer in [lo, hi], ties to even. The addition does the rounding: 1.5 · 2^23 leaves
// no bits for a fraction. REQUIRES: |lo|, |hi| < 2^22; value is not NaN (infinities clamp)
inline int32_t nearest_in(float value, int32_t lo, int32_t hi) {
  const float clamped = std::min(std::max(value, static_cast<float>(lo)), static_cast<float>(hi));
  return static_cast<int32_t>(std::bit_cast<uint32_t>(clamped + 0x1.8p23f) & 0x7fffffu) - 0x400000;
}

// The value with the largest magnitude, with its sign; the first of equals.
inline float signed_max(const float* x, int64_t n) {
  float best = 0.0f;
  for (int64_t i = 0; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(best)) best = x[i];
  }
  return best;
}

// Byte i of entry b is bit i of b: eight high bits to eight bytes in one load.
inline constexpr std::array<uint64_t, 256> kSpreadBits = [] {
  std::array<uint64_t, 256> table{};
  for (uint64_t b = 0; b < 256; ++b) {
    for (int i = 0; i < 8; ++i) table[b] |= (b >> i & 1) << (8 * i);
  }
  return table;
}();

// The 32 bits at `p` as 32 bytes of 0 or 1, bit j to byte j.
inline void spread_32_bits(const uint8_t* p, uint8_t* out) {
  for (int i = 0; i < 4; ++i) std::memcpy(out + 8 * i, &kSpreadBits[p[i]], 8);
}

// Index of the first block for which is_bad(block) is not zero, or -1. Blocks are tested in
// groups without branches, because nearly always all of them are good; an answer as narrow as what
// is_bad compares makes that loop the widest.
template <int64_t kBlockBytes, typename IsBad>
int64_t first_block_where(const uint8_t* src, int64_t num_blocks, IsBad is_bad) {
  constexpr int64_t kGroup = kBlockBytes >= 16 ? 64 : 1024;
  for (int64_t begin = 0; begin < num_blocks; begin += kGroup) {
    const int64_t count = std::min(kGroup, num_blocks - begin);
    const uint8_t* group = src + begin * kBlockBytes;
    decltype(is_bad(group)) any = 0;
    for (int64_t i = 0; i < count; ++i) any |= is_bad(group + i * kBlockBytes);
    if (any == 0) continue;
    for (int64_t i = 0; i < count; ++i) {
      if (is_bad(group + i * kBlockBytes) != 0) return begin + i;
    }
  }
  return -1;
}

// first_bad_block of every format whose scales are halves at fixed offsets.
template <int64_t kBlockBytes, int64_t... kScaleOffsets>
int64_t first_bad_f16_scale(const uint8_t* src, int64_t num_blocks) {
  return first_block_where<kBlockBytes>(src, num_blocks, [](const uint8_t* block) -> uint16_t {
    return (static_cast<uint16_t>((load_u16(block + kScaleOffsets) & 0x7c00) == 0x7c00) | ...);
  });
}

}  // namespace ferry::quant
