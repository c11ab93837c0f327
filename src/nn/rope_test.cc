// The golden frequencies of MODELS §1.4 and §1.5, and the layout of the table.
#include "nn/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

namespace ferry::nn {
namespace {

struct Golden {
  size_t index;
  double frequency;
};

void expect_frequencies(const RopeSpec& spec, std::initializer_list<Golden> goldens) {
  const std::vector<double> frequencies = rope_frequencies(spec);
  for (const Golden& golden : goldens) {
    EXPECT_NEAR(frequencies[golden.index] / golden.frequency, 1.0, 1e-9) << golden.index;
  }
}

TEST(Rope, YarnOfDeepseekV3) {
  RopeSpec spec{.dim = 64,
                .theta = 1e4,
                .scaling = RopeScaling::kYarn,
                .factor = 40,
                .original_max_position_embeddings = 4096};
  expect_frequencies(spec, {{0, 1.0},
                            {8, 1e-1},
                            {11, 3.900692657e-2},
                            {16, 5.5e-3},
                            {20, 7.905694150e-4},
                            {24, 2.5e-5},
                            {31, 3.333803580e-6}});
}

TEST(Rope, YarnOfDeepseekV4CompressedLayers) {
  RopeSpec spec{.dim = 64,
                .theta = 1.6e5,
                .scaling = RopeScaling::kYarn,
                .factor = 16,
                .original_max_position_embeddings = 65536};
  expect_frequencies(spec, {{8, 5e-2},
                            {11, 1.625862282e-2},
                            {16, 2.265625e-3},
                            {20, 2.969777783e-4},
                            {24, 1.953125e-5},
                            {31, 5.680529037e-7}});
}

TEST(Rope, YarnOfKimiK2WhereTheBetasAreEqual) {
  RopeSpec spec{.dim = 64,
                .theta = 5e4,
                .scaling = RopeScaling::kYarn,
                .factor = 32,
                .original_max_position_embeddings = 4096,
                .beta_fast = 1.0,
                .beta_slow = 1.0};
  expect_frequencies(spec, {{8, 6.687403050e-2},
                            {11, 2.425096702e-2},
                            {16, 4.472135955e-3},
                            {20, 3.614046774e-5},
                            {24, 9.345929883e-6},
                            {31, 8.764412912e-7}});
}

TEST(Rope, Llama3) {
  RopeSpec spec{.dim = 128,
                .theta = 5e5,
                .scaling = RopeScaling::kLlama3,
                .factor = 8,
                .original_max_position_embeddings = 8192};
  expect_frequencies(spec, {{28, 3.211445995e-3},
                            {29, 2.166570764e-3},
                            {32, 5.248461610e-4},
                            {34, 1.785078128e-4},
                            {35, 9.556212354e-5},
                            {63, 3.068925989e-7}});
}

TEST(Rope, LinearDividesAndFactorsDivide) {
  RopeSpec spec{.dim = 4, .theta = 100.0, .scaling = RopeScaling::kLinear, .factor = 4};
  EXPECT_DOUBLE_EQ(rope_frequencies(spec)[0], 0.25);
  EXPECT_DOUBLE_EQ(rope_frequencies(spec)[1], 0.025);
  spec.scaling = RopeScaling::kNone;
  spec.frequency_factors = {1.0f, 8.0f};
  EXPECT_DOUBLE_EQ(rope_frequencies(spec)[0], 1.0);
  EXPECT_DOUBLE_EQ(rope_frequencies(spec)[1], 0.1 / 8.0);
}

TEST(Rope, YarnMultiplier) {
  EXPECT_NEAR(yarn_multiplier(40, 1.0), 1.3688879454, 1e-10);
  EXPECT_NEAR(yarn_multiplier(40, 0.707), 1.2608037774, 1e-10);
  EXPECT_NEAR(yarn_multiplier(32, 1.0), 1.3465735903, 1e-10);
  EXPECT_NEAR(yarn_multiplier(64, 1.0), 1.4158883083, 1e-10);
  EXPECT_DOUBLE_EQ(yarn_multiplier(40, 0.0), 1.0);
  EXPECT_DOUBLE_EQ(yarn_multiplier(1, 1.0), 1.0);
}

TEST(Rope, TableHoldsCosinesThenSinesTimesTheAmplitude) {
  RopeSpec spec{.dim = 4, .theta = 100.0, .amplitude = 2.0};
  const std::vector<float> table = rope_table(spec, 3);
  ASSERT_EQ(table.size(), 12u);
  EXPECT_FLOAT_EQ(table[0], 2.0f);
  EXPECT_FLOAT_EQ(table[2], 0.0f);
  EXPECT_FLOAT_EQ(table[8], static_cast<float>(2.0 * std::cos(2.0)));
  EXPECT_FLOAT_EQ(table[9], static_cast<float>(2.0 * std::cos(0.2)));
  EXPECT_FLOAT_EQ(table[10], static_cast<float>(2.0 * std::sin(2.0)));
  EXPECT_FLOAT_EQ(table[11], static_cast<float>(2.0 * std::sin(0.2)));
}

}  // namespace
}  // namespace ferry::nn
