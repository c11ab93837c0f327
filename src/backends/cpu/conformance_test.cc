// The conformance suite at every level that this machine can run, on two threads. (The suite's own
// test runs the level that is chosen by itself.)
#include "device/conformance/conformance.h"

#include <gtest/gtest.h>

#include "backends/cpu/testing.h"

namespace ferry::cpu {
namespace {

class CpuConformance : public ::testing::TestWithParam<Level> {};
INSTANTIATE_TEST_SUITE_P(Levels, CpuConformance, ::testing::ValuesIn(available_levels()),
                         level_of_test);

TEST_P(CpuConformance, AgreesWithTheReference) {
  const TestDevice subject = open_cpu(GetParam(), 2), reference = open_device("reference");
  int64_t passed = 0;
  for (const ConformanceResult& result :
       run_conformance(*subject.backend, *reference.backend, {})) {
    EXPECT_TRUE(result.passed) << result.name << ": error " << result.error << " of "
                               << result.tolerance << "; " << result.detail;
    passed += result.passed;
  }
  EXPECT_GT(passed, 0);
}

}  // namespace
}  // namespace ferry::cpu
