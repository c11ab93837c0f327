// Sizes at the ends of 64 bits: nullopt, never a wrap.
#include "base/checked_math.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace ferry {
namespace {

TEST(CheckedMath, ProductsAndSums) {
  EXPECT_EQ(6, checked_mul(2, 3));
  EXPECT_EQ(-6, checked_mul(-2, 3));
  EXPECT_EQ(INT64_MAX, checked_mul(INT64_MAX, 1));
  EXPECT_EQ(std::nullopt, checked_mul(INT64_MAX, 2));
  EXPECT_EQ(std::nullopt, checked_mul(int64_t{1} << 32, int64_t{1} << 31));
  EXPECT_EQ(int64_t{1} << 62, checked_mul(int64_t{1} << 31, int64_t{1} << 31));
  EXPECT_EQ(std::nullopt, checked_mul(INT64_MIN, -1));
  EXPECT_EQ(INT64_MAX, checked_add(INT64_MAX - 1, 1));
  EXPECT_EQ(std::nullopt, checked_add(INT64_MAX, 1));
  EXPECT_EQ(std::nullopt, checked_add(INT64_MIN, -1));
}

TEST(CheckedMath, ProductOfDimensions) {
  const auto product = [](std::vector<int64_t> dims) { return checked_product(dims); };
  EXPECT_EQ(1, product({}));
  EXPECT_EQ(24, product({2, 3, 4}));
  EXPECT_EQ(0, product({5, 0, 7}));
  EXPECT_EQ(std::nullopt, product({2, -3}));
  EXPECT_EQ(std::nullopt, product({0, -1}));
  EXPECT_EQ(std::nullopt, product({int64_t{1} << 40, int64_t{1} << 40}));
  EXPECT_EQ(std::nullopt, product({int64_t{1} << 40, int64_t{1} << 40, 0}));
}

TEST(CheckedMath, DivisionAndRoundingUp) {
  EXPECT_EQ(0, ceil_div(0, 4));
  EXPECT_EQ(1, ceil_div(1, 4));
  EXPECT_EQ(1, ceil_div(4, 4));
  EXPECT_EQ(2, ceil_div(5, 4));
  EXPECT_EQ(0, round_up(0, 32));
  EXPECT_EQ(32, round_up(1, 32));
  EXPECT_EQ(64, round_up(33, 32));
}

}  // namespace
}  // namespace ferry
