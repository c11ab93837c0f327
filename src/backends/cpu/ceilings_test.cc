// The probe that asks memory in between.
#include "backends/cpu/ceilings.h"

#include <gtest/gtest.h>

namespace ferry::cpu {
namespace {

TEST(ReadProbe, GivesTheRateOfTheSamplesSinceItWasAsked) {
  ThreadTeam team(2);
  const auto probe = ReadProbe::create(team);
  ASSERT_NE(probe, nullptr);
  EXPECT_EQ(probe->take_bytes_per_s(), 0);
  for (int i = 0; i < 6; ++i) probe->sample();  // more than the buffer holds: it begins again
  const double rate = probe->take_bytes_per_s();
  EXPECT_GT(rate, 1e7);
  EXPECT_LT(rate, 1e13);
  EXPECT_EQ(probe->take_bytes_per_s(), 0);
}

// A team that does not divide the buffer into pages.
TEST(ReadProbe, WorksWithAnyTeam) {
  for (const int threads : {1, 3, 7}) {
    ThreadTeam team(threads);
    const auto probe = ReadProbe::create(team);
    ASSERT_NE(probe, nullptr);
    for (int i = 0; i < 5; ++i) probe->sample();
    EXPECT_GT(probe->take_bytes_per_s(), 0) << threads;
  }
}

}  // namespace
}  // namespace ferry::cpu
