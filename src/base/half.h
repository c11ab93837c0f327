// f16 and bf16 ↔ f32, one number at a time, rounding to nearest even. The portable definition;
// backends have vector versions that give the same bits.
#pragma once

#include <bit>
#include <cstdint>

namespace ferry {

constexpr float bf16_to_f32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

constexpr uint16_t f32_to_bf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);  // NaN
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

// Without branches, so that loops over it vectorise, and without subnormal singles, which some
// chips compute slowly and some threads flush.
constexpr float f16_to_f32(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  const uint32_t is_subnormal = (magnitude - 0x400u) >> 31;
  const uint32_t is_infinity_or_nan = (0x7bffu - magnitude) >> 31;
  // The exponent's bias goes from 15 to 127, an exponent of 31 to 255. A subnormal is read as
  // 2^-14 · (1 + mantissa) and the 2^-14 subtracted again, which is exact.
  const uint32_t bits = (magnitude << 13) + ((112 + is_subnormal + 112 * is_infinity_or_nan) << 23);
  const uint32_t excess = (0u - is_subnormal) & std::bit_cast<uint32_t>(0x1p-14f);
  const float value = std::bit_cast<float>(bits) - std::bit_cast<float>(excess);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | (half & 0x8000u) << 16);
}

constexpr uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;             // NaN
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;            // rounds to infinity
  if (magnitude < 0x38800000u) {                                  // subnormal half or zero
    const float scaled = std::bit_cast<float>(magnitude) + 0.5f;  // the adder rounds to 2^-24
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(scaled) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace ferry
