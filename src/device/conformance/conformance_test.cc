// Runs the conformance suite on every backend of this build that has a device here. The reference
// runs against itself: that shows that the cases are deterministic and its rows independent of the
// batch; that its numbers are right is shown in backends/reference/reference_test.cc.
#include "device/conformance/conformance.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace ferry {
namespace {

class Conformance : public ::testing::TestWithParam<const BackendEntry*> {};

TEST_P(Conformance, AgreesWithTheReference) {
  std::string why;
  if (GetParam()->count_devices(&why) == 0) GTEST_SKIP() << why;
  auto subject = GetParam()->open({});
  auto reference = open_backend("reference", {});
  ASSERT_TRUE(subject.ok()) << subject.error().message;
  ASSERT_TRUE(reference.ok());
  int64_t passed = 0, skipped = 0;
  for (const ConformanceResult& result : run_conformance(**subject, **reference, {})) {
    if (result.skipped) {
      ++skipped;
      continue;
    }
    EXPECT_TRUE(result.passed) << result.name << ": error " << result.error << " of "
                               << result.tolerance << "; " << result.detail;
    passed += result.passed;
  }
  RecordProperty("passed", std::to_string(passed));
  RecordProperty("skipped", std::to_string(skipped));
  EXPECT_GT(passed, 0);
  // These two compute everything; another chip may lack formats, and says so at load.
  if (GetParam()->name == "reference" || GetParam()->name == "cpu") {
    EXPECT_EQ(skipped, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Conformance,
                         ::testing::ValuesIn(all_backends().begin(), all_backends().end()),
                         [](const auto& test) { return std::string(test.param->name); });

TEST(ConformanceCases, NamesAreUniqueAndEveryOpIsThere) {
  std::vector<std::string> names;
  std::vector<bool> seen(kNumOps, false);
  for (const ConformanceCase& test : conformance_cases()) {
    names.push_back(test.name);
    seen[static_cast<int>(test.op)] = true;
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  for (int op = 0; op < kNumOps; ++op) EXPECT_TRUE(seen[op]) << op_name(static_cast<Op>(op));
}

}  // namespace
}  // namespace ferry
