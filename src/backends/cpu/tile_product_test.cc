// Products on tiles: of any shape, right, and the same bits for a row or a column alone as among
// others; activations as three bf16; those of this processor where it has any, and those in plain
// C++.
// There are none on other processors than x86-64.
#if defined(__x86_64__)
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "backends/cpu/testing.h"
#include "base/half.h"

namespace ferry::cpu {

namespace {

std::vector<const Bf16Tiles*> all_bf16_tiles() {
  std::vector<const Bf16Tiles*> all;
  const CpuFeatures features = read_cpu_features();
  if (missing_features(Level::kAvx512, features).empty()) all.push_back(&bf16_tiles_plain);
  if (missing_features(Level::kAmx, features).empty()) {
    const Bf16Tiles* own = select_bf16_tiles(Level::kAmx, features);
    if (own != nullptr) all.push_back(own);
  }
  return all;
}

class TileProductTest : public ::testing::TestWithParam<const Bf16Tiles*> {
 protected:
  const Bf16Tiles* tiles = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Tiles, TileProductTest, ::testing::ValuesIn(all_bf16_tiles()),
                         [](const auto& test) { return std::string(test.param->name); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TileProductTest);

constexpr uint16_t kBad = 0x7fc0;  // NaN where nothing may be read

// Both factors and what they are added to, with rows longer than the matrices.
struct Factors {
  int64_t m, n, k;
  int64_t a_stride, b_stride, c_stride;
  std::vector<uint16_t> a, b;
  std::vector<float> c;

  Factors(int64_t rows, int64_t cols, int64_t depth)
      : m(rows), n(cols), k(depth), a_stride(k + 3), b_stride(2 * (n + 5)), c_stride(n + 7) {
    a.assign(static_cast<size_t>(m * a_stride), kBad);
    b.assign(static_cast<size_t>((k + 1) / 2 * b_stride), kBad);
    const auto left = random_floats(m * k, 1), right = random_floats(k * n, 2);
    for (int64_t i = 0; i < m * k; ++i) a[i / k * a_stride + i % k] = f32_to_bf16(left[i]);
    // Where k is odd, what is beside its last row is not used.
    for (int64_t i = 0; i < k * n; ++i) b[at(i / n, i % n)] = f32_to_bf16(right[i]);
    c = random_floats(m * c_stride, 3);
  }
  size_t at(int64_t i, int64_t j) const {
    return static_cast<size_t>(i / 2 * b_stride + 2 * j + i % 2);
  }
  // Rows [row, row + rows) × columns [col, col + cols) into `out`, which is like c.
  Bf16Product product(std::vector<float>& out, bool accumulate, int64_t row, int64_t rows,
                      int64_t col, int64_t cols) const {
    return {.m = rows,
            .n = cols,
            .k = k,
            .a = a.data() + row * a_stride,
            .a_stride = a_stride,
            .b = b.data() + 2 * col,
            .b_stride = b_stride,
            .c = out.data() + row * c_stride + col,
            .c_stride = c_stride,
            .accumulate = accumulate};
  }
};

// The order of sums of tile_product.h, whatever the tile.
float sum_by_the_manual(const Factors& f, int64_t row, int64_t col, float before) {
  for (int64_t first = 0; first < f.k; first += kTileProductDepth) {
    float sums[2] = {};
    for (int64_t i = first; i < std::min(f.k, first + kTileProductDepth); ++i) {
      const float a = bf16_to_f32(f.a[row * f.a_stride + i]), b = bf16_to_f32(f.b[f.at(i, col)]);
      sums[i % 2] = std::fma(a, b, sums[i % 2]);
    }
    before += sums[0] + sums[1];
  }
  return before;
}

TEST_P(TileProductTest, KnownSumsComeOut) { EXPECT_TRUE(tiles->works()); }

TEST_P(TileProductTest, AnyShapeAndInvariant) {
  const bool plain = tiles == &bf16_tiles_plain;
  for (int64_t m : {1, 2, 15, 16, 17, 31, 32, 33, 48, 51}) {
    for (int64_t n : {1, 15, 16, 17, 32, 33, 40, 63, 64, 65, 112, 130}) {
      const Factors f(m, n, 1 + (m * 7 + n * 5) % 130);
      for (bool accumulate : {false, true}) {
        std::vector<float> out = f.c;
        tiles->product(f.product(out, accumulate, 0, m, 0, n));
        for (int64_t i = 0; i < m * f.c_stride; ++i) {
          const int64_t row = i / f.c_stride, col = i % f.c_stride;
          if (col >= n) {
            ASSERT_EQ(out[i], f.c[i]) << "outside";
            continue;
          }
          const float before = accumulate ? f.c[i] : 0.0f;
          const float expected = sum_by_the_manual(f, row, col, before);
          ASSERT_NEAR(out[i], expected, plain ? 0 : 1e-4) << m << " " << n << " " << f.k;
        }
        std::vector<float> apart = f.c;
        for (int64_t row = 0; row < m; row += 5) {
          for (int64_t col = 0; col < n; col += 37) {
            tiles->product(f.product(apart, accumulate, row, std::min<int64_t>(5, m - row), col,
                                     std::min<int64_t>(37, n - col)));
          }
        }
        ASSERT_EQ(apart, out) << m << " " << n << " " << f.k;
      }
    }
  }
}

// A row that ends in zeros may share a product with a longer one.
TEST_P(TileProductTest, ZerosChangeNoBit) {
  for (int64_t depth = 1; depth < 64; ++depth) {
    const int64_t whole = (depth + 31) / 32 * 32;
    Factors f(18, 34, whole);
    for (int64_t row = 0; row < f.m; ++row) {
      for (int64_t i = depth; i < whole; ++i) f.a[row * f.a_stride + i] = 0;
    }
    std::vector<float> longer = f.c, shorter = f.c;
    tiles->product(f.product(longer, true, 0, f.m, 0, f.n));
    Bf16Product product = f.product(shorter, true, 0, f.m, 0, f.n);
    product.k = depth;
    tiles->product(product);
    ASSERT_EQ(longer, shorter) << depth;
  }
}

// Nothing of a number gets lost, and what is not finite stays so.
TEST_P(TileProductTest, ActivationsAreTheSumOfTheirParts) {
  for (int64_t cols : {2, 16, 38, 96}) {
    std::vector<float> x = random_floats(cols, 4);
    for (float& value : x) value = std::ldexp(value, static_cast<int>(value * 90));
    x[1] = -std::numeric_limits<float>::max();
    const int64_t bytes = tiles->split.row_bytes(cols), stride = bytes / 6;
    ASSERT_TRUE(stride >= cols && bytes % 64 == 0);
    std::vector<uint16_t> row(static_cast<size_t>(bytes / 2), kBad);
    tiles->split.write_row(x.data(), cols, row.data());
    for (int64_t i = 0; i < cols; ++i) {
      double sum = 0;
      for (int64_t part : {0, 1, 2}) sum += bf16_to_f32(row[part * stride + i]);
      ASSERT_EQ(sum, x[i]) << i;
    }
  }
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan_of_low_bits = std::bit_cast<float>(0x7f800001u);
  const float x[] = {infinity, -infinity, std::nanf(""), nan_of_low_bits};
  std::vector<uint16_t> row(static_cast<size_t>(tiles->split.row_bytes(4) / 2));
  tiles->split.write_row(x, 4, row.data());
  EXPECT_EQ(bf16_to_f32(row[0]), infinity);
  EXPECT_EQ(bf16_to_f32(row[1]), -infinity);
  EXPECT_TRUE(std::isnan(bf16_to_f32(row[2])) && std::isnan(bf16_to_f32(row[3])));
  for (size_t i : {0, 1, 2, 3}) EXPECT_EQ(row[32 + i] | row[64 + i], 0) << i;
}

}  // namespace
}  // namespace ferry::cpu
#endif
