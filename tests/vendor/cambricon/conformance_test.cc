// The conformance suite on the emulated device, through the same dlopen that a real one goes
// through. It shows that the calls keep to the emulator's reading of the documentation, and that
// the numbers come out right; not that a real device does the same.
#include "device/conformance/conformance.h"

#include "vendor/cambricon/neuware.h"

namespace ferry::cambricon {
namespace {

void expect_conformance(const BackendOptions& options, const std::string& filter) {
  const auto subject = open_emulated(options);
  ASSERT_NE(subject, nullptr);
  const auto reference = open_backend("reference", {}).value();
  int passed = 0, skipped = 0;
  for (const ConformanceResult& result :
       run_conformance(*subject, *reference, {.filter = filter})) {
    skipped += result.skipped;
    passed += result.passed;
    EXPECT_TRUE(result.passed || result.skipped)
        << result.name << ": error " << result.error << " of " << result.tolerance << "; "
        << result.detail;
    // int8 pages are what it does not do, unless the op is the host's.
    const bool int8 = result.name.find(" i8") != std::string::npos;
    EXPECT_EQ(result.skipped, int8 && !has_host_default(result.op)) << result.name;
  }
  EXPECT_GT(passed, 0);
  ::testing::Test::RecordProperty("passed", passed);
  ::testing::Test::RecordProperty("skipped", skipped);
}

TEST(CambriconConformance, OfTheCurrentRelease) {
  use_release("current");
  expect_conformance({}, "");
}

// Without cnnlFuseNorm, cnnlLayerNormForward and cnnlTopKTensor_v3 the host computes these.
TEST(CambriconConformance, OfAnOldReleaseWithoutSomeOperations) {
  use_release("old");
  for (const char* filter : {"rms_norm", "layer_norm", "moe_gate"}) {
    expect_conformance({}, filter);
  }
}

TEST(CambriconConformance, WithWeightsInF32) {
  use_release("current");
  for (const char* filter : {"matmul F32", "matmul Q4_K", "moe_experts BF16"}) {
    expect_conformance({.f32_activations = true}, filter);
  }
}

}  // namespace
}  // namespace ferry::cambricon
