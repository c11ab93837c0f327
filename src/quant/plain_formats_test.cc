// The formats of one element per block, code by code: F16, BF16 (all 65 536), F8_E4M3 and F8_E8M0
// (all 256) against the formulas that define them, and encoding against a search for the nearest.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

const StorageFormat& plain_format_of(const char* name) {
  const StorageFormat* format = find_format(name);
  EXPECT_NE(nullptr, format) << name;
  return *format;
}

// All codes of a format of one or two bytes, in order, and their values.
std::vector<float> decode_all_codes(const StorageFormat& format) {
  const int64_t count = int64_t{1} << (8 * format.block_bytes);
  std::vector<uint8_t> bytes;
  for (int64_t code = 0; code < count; ++code) {
    for (int64_t i = 0; i < format.block_bytes; ++i) {
      bytes.push_back(static_cast<uint8_t>(code >> (8 * i)));
    }
  }
  std::vector<float> values(count);
  format.decode(bytes.data(), values.data(), count);
  return values;
}

// sign · mantissa · 2^power by the definition of a small float without infinities.
float small_float(int code, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int mantissa = code & ((1 << mantissa_bits) - 1);
  const int exponent = code >> mantissa_bits & ((1 << exponent_bits) - 1);
  const int sign = code >> (mantissa_bits + exponent_bits) & 1;
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(mantissa), 1 - bias - mantissa_bits)
                              : std::ldexp(static_cast<float>(mantissa + (1 << mantissa_bits)),
                                           exponent - bias - mantissa_bits);
  return sign != 0 ? -magnitude : magnitude;
}

void expect_same_bits(float expected, float found, int code) {
  EXPECT_EQ(std::bit_cast<uint32_t>(expected), std::bit_cast<uint32_t>(found))
      << "code " << code << ": expected " << expected << ", found " << found;
}

int encode_one(const StorageFormat& format, float value) {
  uint8_t bytes[4] = {};
  format.encode(&value, bytes, 1);
  return bytes[0] | bytes[1] << 8;
}

TEST(PlainFormats, E4m3DecodesEveryCode) {
  const std::vector<float> values = decode_all_codes(plain_format_of("F8_E4M3"));
  for (int code = 0; code < 256; ++code) {
    if ((code & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(values[code])) << code;
    } else {
      expect_same_bits(small_float(code, 4, 3), values[code], code);
    }
  }
  EXPECT_EQ(0x1p-9f, values[0x01]);
  EXPECT_EQ(0x1p-6f, values[0x08]);
  EXPECT_EQ(1.0f, values[0x38]);
  EXPECT_EQ(1.5f, values[0x3c]);
  EXPECT_EQ(448.0f, values[0x7e]);
  EXPECT_EQ(-1.0f, values[0xb8]);
}

TEST(PlainFormats, F16AndBf16DecodeEveryCode) {
  const std::vector<float> halves = decode_all_codes(plain_format_of("F16"));
  const std::vector<float> brains = decode_all_codes(plain_format_of("BF16"));
  for (int code = 0; code < 65536; ++code) {
    if ((code & 0x7c00) == 0x7c00) {
      EXPECT_EQ((code & 0x3ff) != 0, std::isnan(halves[code])) << code;
      EXPECT_EQ((code & 0x3ff) == 0, std::isinf(halves[code])) << code;
      EXPECT_EQ((code & 0x8000) != 0, std::signbit(halves[code])) << code;
    } else {
      expect_same_bits(small_float(code, 5, 10), halves[code], code);
    }
    if ((code & 0x7f80) == 0x7f80) {
      EXPECT_EQ((code & 0x7f) != 0, std::isnan(brains[code])) << code;
      EXPECT_EQ((code & 0x7f) == 0, std::isinf(brains[code])) << code;
    } else {
      expect_same_bits(small_float(code, 8, 7), brains[code], code);
    }
  }
}

TEST(PlainFormats, E8m0DecodesEveryCode) {
  const std::vector<float> values = decode_all_codes(plain_format_of("F8_E8M0"));
  for (int code = 0; code < 255; ++code) {
    expect_same_bits(std::ldexp(1.0f, code - 127), values[code], code);
  }
  EXPECT_TRUE(std::isnan(values[255]));
}

TEST(PlainFormats, EncodingADecodedCodeGivesItBack) {
  for (const char* name : {"F8_E4M3", "F8_E8M0", "F16", "BF16"}) {
    SCOPED_TRACE(name);
    const StorageFormat& format = plain_format_of(name);
    const std::vector<float> values = decode_all_codes(format);
    for (size_t code = 0; code < values.size(); ++code) {
      if (!std::isfinite(values[code])) continue;
      ASSERT_EQ(static_cast<int>(code), encode_one(format, values[code])) << values[code];
    }
  }
}

// Rounds by search: the nearest of all finite codes, of two equally near ones the even one.
int nearest_code(const std::vector<float>& values, float value) {
  int best = -1;
  double best_distance = 0;
  for (int code = 0; code < static_cast<int>(values.size()); ++code) {
    if (!std::isfinite(values[code]) || std::signbit(values[code]) != std::signbit(value)) continue;
    const double distance = std::fabs(static_cast<double>(values[code]) - value);
    const bool nearer = best < 0 || distance < best_distance;
    if (nearer || (distance == best_distance && code % 2 == 0)) {
      best = code;
      best_distance = distance;
    }
  }
  return best;
}

TEST(PlainFormats, E4m3EncodesToTheNearestTiesToEven) {
  const StorageFormat& format = plain_format_of("F8_E4M3");
  const std::vector<float> values = decode_all_codes(format);
  std::vector<float> inputs = {0.0f,  -0.0f,  448.0f, 449.0f,   464.0f,
                               1e30f, -1e30f, 1e-30f, 0x1p-149f};
  for (int code = 0; code < 0x7e; ++code) {
    const float middle = 0.5f * (values[code] + values[code + 1]);  // every tie
    inputs.insert(inputs.end(),
                  {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 500.0f), -middle});
  }
  std::mt19937 random(3);
  std::uniform_real_distribution<float> exponent(-12, 9);
  for (int i = 0; i < 5000; ++i) inputs.push_back(std::exp2(exponent(random)));
  for (float input : inputs)
    EXPECT_EQ(nearest_code(values, input), encode_one(format, input)) << input;
}

TEST(PlainFormats, F16AndBf16EncodeTiesToEvenAndSaturate) {
  for (const char* name : {"F16", "BF16"}) {
    SCOPED_TRACE(name);
    const StorageFormat& format = plain_format_of(name);
    const std::vector<float> values = decode_all_codes(format);
    for (int code = 0; code + 1 < 0x8000 && std::isfinite(values[code + 1]); ++code) {
      const float middle = 0.5f * values[code] + 0.5f * values[code + 1];
      ASSERT_EQ(code + code % 2, encode_one(format, middle)) << middle;
      ASSERT_EQ(code, encode_one(format, std::nextafter(middle, 0.0f))) << middle;
      ASSERT_EQ(code + 1, encode_one(format, std::nextafter(middle, INFINITY))) << middle;
    }
    const float largest = std::numeric_limits<float>::max();
    EXPECT_TRUE(std::isfinite(values[encode_one(format, largest)]));
    EXPECT_TRUE(std::isfinite(values[encode_one(format, -largest)]));
    EXPECT_EQ(encode_one(format, largest), encode_one(format, -largest) & 0x7fff);
  }
}

TEST(PlainFormats, E8m0EncodesToTheNearestPower) {
  const StorageFormat& format = plain_format_of("F8_E8M0");
  EXPECT_EQ(127, encode_one(format, 1.0f));
  EXPECT_EQ(127, encode_one(format, 1.49f));
  EXPECT_EQ(128, encode_one(format, 1.5f));
  EXPECT_EQ(0, encode_one(format, 0.74f * 0x1p-126f));
  EXPECT_EQ(1, encode_one(format, 0.75f * 0x1p-126f));
  EXPECT_EQ(254, encode_one(format, std::numeric_limits<float>::max()));
  for (float not_positive : {0.0f, -0.0f, -1.0f, -1e30f}) {
    EXPECT_EQ(0, encode_one(format, not_positive)) << not_positive;
  }
}

}  // namespace
}  // namespace ferry::quant
