// The conformance suite on the emulated device, through the same dlopen that a real one goes
// through. It shows that the calls keep to the emulator's reading of the documentation, and that
// the numbers come out right; not that a real device does the same.
#include "device/conformance/conformance.h"

#include "vendor/ascend/cann.h"

namespace ferry::ascend {
namespace {

// Pages of int8 are all that is skipped, which no operator reads; on a chip without bf16 also
// those.
void expect_conformance(const BackendOptions& options, const std::string& filter,
                        bool only_int8_is_skipped = true) {
  const auto subject = open_emulated(options);
  ASSERT_NE(subject, nullptr);
  const auto reference = open_backend("reference", {}).value();
  int passed = 0;
  for (const ConformanceResult& result :
       run_conformance(*subject, *reference, {.filter = filter})) {
    passed += result.passed;
    EXPECT_TRUE(result.passed || result.skipped)
        << result.name << ": error " << result.error << " of " << result.tolerance << "; "
        << result.detail;
    const bool int8 = result.name.find(" i8") != std::string::npos;
    if (only_int8_is_skipped) {
      EXPECT_EQ(result.skipped, int8 && !has_host_default(result.op)) << result.name;
    }
  }
  EXPECT_GT(passed, 0);
}

TEST(AscendConformance, OfTheCurrentRelease) {
  use_release("current");
  expect_conformance({}, "");
}

// Without aclnnRmsNorm, aclnnLayerNorm and aclnnMoeGatingTopK the host computes these, groups are
// multiplied by the version before, int8 is made wide for each product, and attention of latents is
// composed.
TEST(AscendConformance, OfAnOldReleaseWithoutSomeOperators) {
  use_release("old");
  for (const char* filter : {"norm", "moe_gate", "grouped_matmul", "moe_experts", "matmul F8_E4M3",
                             "rope", "gqa_attention bf16", "mla_decode_attention bf16"}) {
    expect_conformance({}, filter);
  }
}

TEST(AscendConformance, OfOperatorsInSeveralLibraries) {
  use_release("split");
  for (const char* filter :
       {"add", "matmul BF16", "moe_gate", "gqa_attention bf16", "mla_decode_attention bf16"})
    expect_conformance({}, filter);
}

// No bf16, no fused operators of experts, products of f32 made of f16.
TEST(AscendConformance, OfASmallerChip) {
  use_release("310p");
  for (const char* filter :
       {"matmul Q4_K", "matmul F32", "matmul F8", "moe", "gqa", "mla", "index", "rope"}) {
    expect_conformance({}, filter, false);
  }
}

TEST(AscendConformance, WithWeightsInF32) {
  use_release("current");
  for (const char* filter : {"matmul F32", "matmul Q4_K", "moe_experts BF16"}) {
    expect_conformance({.f32_activations = true}, filter);
  }
}

}  // namespace
}  // namespace ferry::ascend
