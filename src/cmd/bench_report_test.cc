// The figures of `ferry bench` from measurements made by hand.
#include "cmd/bench_report.h"

#include <gtest/gtest.h>

namespace ferry::cmd {
namespace {

TEST(Median, OfOddAndEven) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(median({5}), 5);
}

TEST(MatmulCeiling, IsThatOfTheInstructionInUse) {
  cpu::Ceilings ceilings;
  ceilings.matmul = {{"f32 FMA, AVX2", 100},
                     {"f32 FMA, AVX-512", 180},
                     {"int8 dot, AVX-512 VNNI", 700},
                     {"bf16 dot, AVX-512 BF16", 300},
                     {"int8 AMX", 6000}};
  const auto named = [&](double rounding, const char* level) -> std::string {
    const auto* found = matmul_ceiling(ceilings, rounding, level);
    return found == nullptr ? "" : found->instruction;
  };
  EXPECT_EQ(named(0, "avx512"), "f32 FMA, AVX-512");
  EXPECT_EQ(named(0, "avx2"), "f32 FMA, AVX2");
  EXPECT_EQ(named(1.0 / 254, "avx512"), "int8 dot, AVX-512 VNNI");
  EXPECT_EQ(named(1.0 / 254, "amx"), "int8 AMX");
  EXPECT_EQ(named(1.0 / 512, "avx512"), "bf16 dot, AVX-512 BF16");
  EXPECT_EQ(named(0, "generic"), "");
}

TEST(BenchJson, DerivesRatesAndShares) {
  BenchResult result;
  result.ceilings = cpu::Ceilings{.read_bytes_per_s = 4000};
  result.matmul_instruction = "f32 FMA, AVX2";
  result.matmul_operations_per_s = 10000;
  result.prefill = {{.tokens = 8, .seconds = {2, 1, 4}, .weight_bytes = 10, .operations = 500}};
  result.points = {{.batch = 2,
                    .context = 16,
                    .decode = {.tokens = 10,
                               .seconds = {1, 1, 1},
                               .weight_bytes = 150,
                               .cache_bytes = 50,
                               .operations = 100}},
                   {.batch = 2, .context = 99, .skipped = "too long"}};
  const Json out = bench_json(result);
  ASSERT_EQ(out["results"].size(), 2u);
  const Json& row = out["results"][0];
  EXPECT_EQ(row["batch"], 2);
  EXPECT_EQ(row["context"], 16);
  EXPECT_EQ(row["prefill_tokens_per_s"], 4.0);
  EXPECT_EQ(row["prefill"]["tokens_per_s_min"], 2.0);
  EXPECT_EQ(row["prefill"]["tokens_per_s_max"], 8.0);
  EXPECT_EQ(row["decode_tokens_per_s"], 10.0);
  EXPECT_EQ(row["read_gb_per_s"], 200 * 10 / 1e9);
  EXPECT_EQ(row["share_of_read_ceiling"], 0.5);
  EXPECT_EQ(row["share_of_matmul_ceiling"], 0.2);
  EXPECT_EQ(out["results"][1]["skipped"], "too long");
  result.ceilings.reset();
  result.matmul_operations_per_s = 0;
  EXPECT_TRUE(bench_json(result)["results"][0]["share_of_read_ceiling"].is_null());
}

TEST(BenchJson, ComparesEachRepeatWithWhatMemoryGaveMeanwhile) {
  BenchResult result;
  result.points = {{.batch = 1,
                    .decode = {.tokens = 10,
                               .seconds = {1, 4, 2},
                               .memory_bytes_per_s = {4000, 500, 1250},
                               .weight_bytes = 200}}};
  result.prefill.resize(1);
  const Json slow = bench_json(result)["results"][0]["decode"];
  EXPECT_EQ(slow["memory_gb_per_s"], 1250 / 1e9);
  EXPECT_EQ(slow["memory_gb_per_s_by_repeat"].size(), 3u);
  EXPECT_EQ(slow["share_of_memory"], 0.8);  // the middle one of 0.5, 1 and 0.8
  result.points[0].decode.memory_bytes_per_s.clear();
  EXPECT_FALSE(bench_json(result)["results"][0]["decode"].contains("share_of_memory"));
}

}  // namespace
}  // namespace ferry::cmd
