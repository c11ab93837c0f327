// f16 and bf16 conversions: every one of the 65 536 codes, every tie between two neighbours, and
// the borders to subnormal, zero and infinity.
#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace ferry {
namespace {

// By the definition of the formats; exponent_bits is 5 or 8. NaN and infinity as they are.
float by_definition(int code, int exponent_bits) {
  const int mantissa_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int top = (1 << exponent_bits) - 1;
  const int mantissa = code & ((1 << mantissa_bits) - 1);
  const int exponent = code >> mantissa_bits & top;
  float magnitude;
  if (exponent == top) {
    magnitude = mantissa == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(mantissa), 1 - bias - mantissa_bits);
  } else {
    magnitude = std::ldexp(static_cast<float>(mantissa + (1 << mantissa_bits)),
                           exponent - bias - mantissa_bits);
  }
  return std::copysign(magnitude, (code & 0x8000) != 0 ? -1.0f : 1.0f);
}

uint32_t bits_of(float value) { return std::bit_cast<uint32_t>(value); }

TEST(Half, EveryCodeDecodesByDefinition) {
  for (int code = 0; code < 65536; ++code) {
    const float half = f16_to_f32(static_cast<uint16_t>(code));
    const float brain = bf16_to_f32(static_cast<uint16_t>(code));
    if (std::isnan(by_definition(code, 5))) {
      ASSERT_TRUE(std::isnan(half)) << code;
      ASSERT_EQ((code & 0x8000) != 0, std::signbit(half)) << code;
    } else {
      ASSERT_EQ(bits_of(by_definition(code, 5)), bits_of(half)) << code;
    }
    ASSERT_EQ(static_cast<uint32_t>(code) << 16, bits_of(brain)) << code;
    const float expected = by_definition(code, 8);
    ASSERT_TRUE(std::isnan(expected) ? std::isnan(brain) : expected == brain) << code;
  }
}

TEST(Half, EveryCodeSurvivesThereAndBack) {
  for (int code = 0; code < 65536; ++code) {
    const auto bits = static_cast<uint16_t>(code);
    const float half = f16_to_f32(bits);
    const float brain = bf16_to_f32(bits);
    if (std::isnan(half)) {
      ASSERT_TRUE(std::isnan(f16_to_f32(f32_to_f16(half)))) << code;
    } else {
      ASSERT_EQ(bits, f32_to_f16(half)) << code;
    }
    if (std::isnan(brain)) {
      ASSERT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(brain)))) << code;
    } else {
      ASSERT_EQ(bits, f32_to_bf16(brain)) << code;
    }
  }
}

// Between every two finite neighbours: the middle goes to the even one, a hair off it to the
// nearer.
template <typename Decode, typename Encode>
void expect_rounding(Decode decode, Encode encode) {
  for (int code = 0; code < 0x7fff; ++code) {
    const float low = decode(static_cast<uint16_t>(code));
    const float high = decode(static_cast<uint16_t>(code + 1));
    if (!std::isfinite(high)) break;
    const float middle = low + (high - low) / 2;  // exact: neither format uses all bits of f32
    const int even = code + code % 2;
    for (int sign : {0, 0x8000}) {
      const auto with_sign = [&](float value) { return sign != 0 ? -value : value; };
      ASSERT_EQ(sign | even, encode(with_sign(middle))) << code;
      ASSERT_EQ(sign | code, encode(with_sign(std::nextafter(middle, 0.0f)))) << code;
      ASSERT_EQ(sign | (code + 1), encode(with_sign(std::nextafter(middle, INFINITY)))) << code;
    }
  }
}

TEST(Half, F16RoundsToNearestTiesToEven) { expect_rounding(f16_to_f32, f32_to_f16); }
TEST(Half, Bf16RoundsToNearestTiesToEven) { expect_rounding(bf16_to_f32, f32_to_bf16); }

TEST(Half, LargeNumbersOverflowWhereTheStandardSays) {
  EXPECT_EQ(0x7bff, f32_to_f16(65504.0f));
  EXPECT_EQ(0x7bff, f32_to_f16(std::nextafter(65520.0f, 0.0f)));
  EXPECT_EQ(0x7c00, f32_to_f16(65520.0f));  // the middle between 65504 and 65536
  EXPECT_EQ(0xfc00, f32_to_f16(-1e30f));
  EXPECT_EQ(0x7c00, f32_to_f16(INFINITY));
  EXPECT_EQ(0x7f7f, f32_to_bf16(0x1.fep127f));
  EXPECT_EQ(0x7f80, f32_to_bf16(std::numeric_limits<float>::max()));
  EXPECT_EQ(0xff80, f32_to_bf16(-INFINITY));
}

TEST(Half, SmallNumbersBecomeSubnormalAndThenZero) {
  EXPECT_EQ(0x0001, f32_to_f16(0x1p-24f));
  EXPECT_EQ(0x0000, f32_to_f16(0x1p-25f));  // the middle between 0 and 2^-24
  EXPECT_EQ(0x0001, f32_to_f16(std::nextafter(0x1p-25f, 1.0f)));
  EXPECT_EQ(0x8000, f32_to_f16(-1e-30f));
  EXPECT_EQ(0x8000, f32_to_f16(-0.0f));
  EXPECT_EQ(0x0400, f32_to_f16(0x1p-14f));
  EXPECT_EQ(0x0400, f32_to_f16(std::nextafter(0x1p-14f, 0.0f)));
  EXPECT_EQ(0x8000, f32_to_bf16(-0.0f));
}

TEST(Half, NanStaysNanWhateverItsPayload) {
  for (uint32_t payload : {0x7f800001u, 0x7fc00000u, 0xffffffffu, 0x7f80ffffu, 0xff800001u}) {
    const float nan = std::bit_cast<float>(payload);
    EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(nan)))) << payload;
    EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(nan)))) << payload;
  }
}

TEST(Half, WorksInConstantExpressions) {
  static_assert(f16_to_f32(0x3c00) == 1.0f);
  static_assert(f16_to_f32(0x0001) == 0x1p-24f);
  static_assert(f32_to_f16(-2.0f) == 0xc000);
  static_assert(f32_to_bf16(1.0f) == 0x3f80 && bf16_to_f32(0x3f80) == 1.0f);
}

}  // namespace
}  // namespace ferry
