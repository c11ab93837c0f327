// Choosing a level: the best one, a forced one, and what is said when that can't be.
#include "backends/cpu/level.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cpu/testing.h"

namespace ferry::cpu {
namespace {

using testing::HasSubstr;
using testing::Not;

CpuFeatures features_of(Level level) {
  CpuFeatures f;
  f.avx2 = f.fma = f.f16c = f.bmi2 = level >= Level::kAvx2;
  f.avx512f = f.avx512bw = f.avx512dq = f.avx512vl = level >= Level::kAvx512;
  f.amx_tile = f.amx_int8 = f.amx_bf16 = level >= Level::kAmx;
  return f;
}

TEST(Level, TakesTheBestThatIsThere) {
  for (Level level : kLevels) {
    EXPECT_EQ(choose_level(nullptr, features_of(level)).value(), level);
    EXPECT_EQ(choose_level("", features_of(level)).value(), level);
    EXPECT_EQ(choose_level("generic", features_of(level)).value(), Level::kGeneric);
  }
  CpuFeatures no_f16c = features_of(Level::kAvx512);
  no_f16c.f16c = false;
  EXPECT_EQ(choose_level(nullptr, no_f16c).value(), Level::kGeneric);
}

TEST(Level, ForcedLevelNamesWhatIsMissing) {
  const auto result = choose_level("avx512", features_of(Level::kAvx2));
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, HasSubstr("avx512f, avx512bw, avx512dq, avx512vl"));
  EXPECT_EQ(choose_level("avx2", features_of(Level::kAmx)).value(), Level::kAvx2);
  EXPECT_FALSE(choose_level("amx", features_of(Level::kAvx512)).ok());
}

TEST(Level, UnknownNameListsTheKnown) {
  const auto result = choose_level("sse9", features_of(Level::kAmx));
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, HasSubstr("generic, avx2, avx512, amx"));
}

TEST(Level, TellsWhichKernelsRun) {
  const IntKernels other{.name = "avx512vnni"};
  const Bf16Tiles tiles{.name = "some tiles"};
  const CpuFeatures amx = features_of(Level::kAmx);
  EXPECT_THAT(describe_level(Level::kAmx, amx, &other, &tiles),
              testing::StartsWith("amx; integer matmuls: avx512vnni; bf16 tiles: some tiles"));
  EXPECT_THAT(describe_level(Level::kAmx, amx, &other, nullptr), Not(HasSubstr("bf16 tiles")));
}

TEST(Level, AmxNeedsNoTilesOfBf16) {
  CpuFeatures features = features_of(Level::kAmx);
  features.avx512_bf16 = true;
  features.amx_bf16 = false;
  EXPECT_EQ(choose_level(nullptr, features).value(), Level::kAmx);
  EXPECT_EQ(select_bf16_tiles(Level::kAmx, features), nullptr);
  features.amx_bf16 = true;
  EXPECT_EQ(select_bf16_tiles(Level::kAvx512, features), nullptr);
}

TEST(CpuBackend, OpensAtEveryLevelOfThisMachine) {
  for (Level level : available_levels()) {
    const TestDevice device = open_cpu(level, 2);
    EXPECT_EQ(device.backend->spec().compute_units, 2);
    EXPECT_THAT(device.backend->spec().detail, HasSubstr(std::string(level_name(level))));
    EXPECT_TRUE(device.backend->spec().batch_invariant);
  }
}

TEST(CpuBackend, RefusesWhatItCannotBe) {
  EXPECT_FALSE(open_backend("cpu", {.device = 1}).ok());
  EXPECT_FALSE(open_backend("cpu", {.threads = -1}).ok());
  EXPECT_FALSE(open_backend("cpu", {.threads = 1 << 20}).ok());
  setenv("FERRY_CPU", "itanium", 1);
  EXPECT_FALSE(open_backend("cpu", {}).ok());
  unsetenv("FERRY_CPU");
}

TEST(CpuBackend, SaysWhatItSupports) {
  const TestDevice device = open_device("cpu");
  const auto* q4_k = quant::find_format("Q4_K");
  const auto* i64 = quant::find_format("I64");
  auto supports = [&](OpQuery query) { return device.backend->supports(query); };
  EXPECT_TRUE(supports({.op = Op::kMatmul, .format = q4_k, .rows = 7, .cols = 512}));
  EXPECT_FALSE(supports({.op = Op::kMatmul, .format = q4_k, .rows = 7, .cols = 100}));
  EXPECT_FALSE(supports({.op = Op::kMatmul, .format = i64, .rows = 7, .cols = 100}));
  EXPECT_FALSE(supports({.op = Op::kMatmul, .format = nullptr}));
  EXPECT_TRUE(supports({.op = Op::kGqaAttention, .dtype = Dtype::kBF16}));
  EXPECT_TRUE(supports({.op = Op::kGqaAttention, .dtype = Dtype::kI8}));
  EXPECT_FALSE(supports({.op = Op::kCopy, .dtype = Dtype::kI8}));
  EXPECT_FALSE(supports({.op = Op::kGqaAttention, .dtype = Dtype::kI32}));
  EXPECT_FALSE(supports({.op = Op::kRmsNorm, .dtype = Dtype::kF16}));
}

}  // namespace
}  // namespace ferry::cpu
