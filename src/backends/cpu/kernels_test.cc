// The leaf kernels of every level of this machine against plain loops.
#include "backends/cpu/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "backends/cpu/testing.h"
#include "base/half.h"

namespace ferry::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class KernelsTest : public ::testing::TestWithParam<Level> {
 protected:
  const Kernels& k = select_kernels(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Levels, KernelsTest, ::testing::ValuesIn(available_levels()),
                         level_of_test);

// Random bytes reach every code; blocks that the format itself calls bad are left out.
TEST_P(KernelsTest, DecodersHaveTheBitsOfTheFormats) {
  for (int d = 0; d < k.num_decoders; ++d) {
    const auto* format = quant::find_format(k.decoders[d].format);
    ASSERT_NE(format, nullptr) << k.decoders[d].format;
    SCOPED_TRACE(format->name);
    std::mt19937 generator(17);
    for (int64_t blocks : {1, 3, 37, 400}) {
      std::vector<uint8_t> bytes(static_cast<size_t>(blocks * format->block_bytes));
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(generator());
      const int64_t n = blocks * format->block_elements;
      std::vector<float> expected(static_cast<size_t>(n)), actual(static_cast<size_t>(n) + 1, 7.0f);
      format->decode(bytes.data(), expected.data(), blocks);
      k.decoders[d].decode(bytes.data(), actual.data(), blocks);
      EXPECT_EQ(actual.back(), 7.0f);
      for (int64_t i = 0; i < n; ++i) {
        if (std::isnan(expected[i])) {
          ASSERT_TRUE(std::isnan(actual[i])) << i;
        } else {
          ASSERT_EQ(actual[i], expected[i]) << i;
        }
      }
    }
  }
}

TEST_P(KernelsTest, GemmAndTransposeOfAnyShape) {
  for (int64_t m : {1, 2, 5, 6, 7, 13}) {
    for (int64_t n : {1, 3, 8, 15, 16, 17, 64, 75}) {
      const int64_t depth = 1 + (m * 7 + n * 3) % 40;
      const auto a = random_floats(m * (depth + 1), 1), b = random_floats(depth * (n + 2), 2);
      std::vector<float> c = random_floats(m * n, 3), expected = c, fresh(c.size());
      k.gemm(m, n, depth, a.data(), depth + 1, b.data(), n + 2, c.data(), n, true);
      k.gemm(m, n, depth, a.data(), depth + 1, b.data(), n + 2, fresh.data(), n, false);
      for (int64_t i = 0; i < m * n; ++i) {
        double sum = 0;
        for (int64_t j = 0; j < depth; ++j) {
          sum += double{a[i / n * (depth + 1) + j]} * b[j * (n + 2) + i % n];
        }
        ASSERT_NEAR(c[i], expected[i] + sum, 1e-5);
        ASSERT_NEAR(fresh[i], sum, 1e-5);
      }
      std::vector<float> transposed(static_cast<size_t>(n * m));
      k.transpose(c.data(), n, m, n, transposed.data(), m);
      for (int64_t i = 0; i < m * n; ++i) ASSERT_EQ(transposed[i % n * m + i / n], c[i]);
    }
  }
}

// Through swiglu: silu(x) · (1 + e^-x) / x = 1, so its error is that of the exponential.
TEST_P(KernelsTest, SwigluIsAccurateAndIndependentOfPosition) {
  std::vector<float> gate, up;
  for (float x = -110; x < 110; x += 0.0137f) gate.push_back(x);
  gate.insert(gate.end(), {0.0f, -0.0f, 1e-30f, -1e-30f, 3e38f, -3e38f, kInfinity});
  up.assign(gate.size(), 1.0f);
  std::vector<float> out(gate.size());
  k.swiglu(gate.data(), up.data(), out.data(), static_cast<int64_t>(gate.size()));
  for (size_t i = 0; i < gate.size(); ++i) {
    const double x = gate[i];
    if (std::isinf(x)) {
      EXPECT_EQ(out[i], kInfinity);
      continue;
    }
    const double expected = x / (1 + std::exp(-x));
    ASSERT_NEAR(out[i], expected, std::fabs(expected) * 4e-7 + 1e-35) << x;
    float alone;
    k.swiglu(&gate[i], &up[i], &alone, 1);
    ASSERT_EQ(std::memcmp(&alone, &out[i], sizeof alone), 0) << x;
  }
  float nan = kNan, one = 1, result = 0;
  k.swiglu(&nan, &one, &result, 1);
  EXPECT_TRUE(std::isnan(result));
}

TEST_P(KernelsTest, SoftmaxOverTwoTiles) {
  for (int64_t keys : {1, 2, 15, 16, 17, 63, 64}) {
    std::vector<float> scores = random_floats(2 * kKeyTile, 5);
    for (float& s : scores) s *= 20;
    const std::vector<float> raw = scores;
    float largest = 0, sum = 0;
    std::vector<float> out(37, 9.0f);
    k.softmax_row({scores.data(), kKeyTile, 0.5f, true, &largest, &sum, out.data(), 37});
    for (float x : out) ASSERT_EQ(x, 0.0f);
    out.assign(37, 1.0f);
    const float first_largest = largest;
    k.softmax_row({scores.data() + kKeyTile, keys, 0.5f, false, &largest, &sum, out.data(), 37});
    float expected_largest = -kInfinity;
    for (int64_t i = 0; i < kKeyTile + keys; ++i) {
      expected_largest = std::max(expected_largest, raw[i] * 0.5f);
    }
    EXPECT_EQ(largest, expected_largest);
    double expected_sum = 0;
    for (int64_t i = 0; i < kKeyTile + keys; ++i) {
      expected_sum += std::exp(double{raw[i]} * 0.5 - largest);
    }
    EXPECT_NEAR(sum, expected_sum, 1e-5 * expected_sum);
    for (float x : out) ASSERT_NEAR(x, std::exp(first_largest - largest), 1e-6);
    for (int64_t i = keys; i < kKeyTile; ++i) ASSERT_EQ(scores[kKeyTile + i], 0.0f);
  }
}

TEST_P(KernelsTest, HalvesOfEveryValue) {
  std::vector<uint16_t> all(65536 + 3);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  const int64_t n = static_cast<int64_t>(all.size());
  for (Dtype dtype : {Dtype::kF16, Dtype::kBF16}) {
    const bool f16 = dtype == Dtype::kF16;
    std::vector<float> floats(all.size());
    std::vector<uint16_t> back(all.size());
    k.to_f32(all.data(), dtype, floats.data(), n);
    // Halfway cases and their neighbours round like base/half.h.
    for (uint32_t nudge : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xfffu, 0x1000u, 0x1001u}) {
      std::vector<float> nudged = floats;
      for (float& x : nudged) x = std::bit_cast<float>(std::bit_cast<uint32_t>(x) + nudge);
      k.from_f32(nudged.data(), dtype, back.data(), n);
      for (size_t i = 0; i < all.size(); ++i) {
        if (std::isnan(nudged[i])) {
          ASSERT_TRUE(std::isnan(f16 ? f16_to_f32(back[i]) : bf16_to_f32(back[i])));
        } else {
          ASSERT_EQ(back[i], f16 ? f32_to_f16(nudged[i]) : f32_to_bf16(nudged[i])) << nudged[i];
        }
      }
    }
    for (size_t i = 0; i < all.size(); ++i) {
      const float expected = f16 ? f16_to_f32(all[i]) : bf16_to_f32(all[i]);
      ASSERT_TRUE(floats[i] == expected || std::isnan(expected)) << i;
    }
  }
}

TEST_P(KernelsTest, RowsOfAnyLength) {
  for (int64_t n : {1, 2, 7, 16, 31, 64, 65, 127, 128, 130, 1000}) {
    const auto x = random_floats(n, 11), w = random_floats(n, 12);
    std::vector<float> out(static_cast<size_t>(n));
    k.rms_norm(x.data(), w.data(), 1e-3f, out.data(), n);
    double squares = 0;
    for (float value : x) squares += double{value} * value;
    const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-3);
    for (int64_t i = 0; i < n; ++i) ASSERT_NEAR(out[i], x[i] * factor * w[i], 2e-6);

    const float* rows[2] = {x.data(), w.data()};
    const float weights[2] = {0.25f, -3.0f};
    k.weighted_sum(rows, weights, 2, out.data(), n);
    for (int64_t i = 0; i < n; ++i) ASSERT_NEAR(out[i], 0.25 * x[i] - 3.0 * w[i], 1e-6);
  }
}

}  // namespace
}  // namespace ferry::cpu
