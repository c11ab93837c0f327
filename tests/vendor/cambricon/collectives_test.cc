// Collectives of several emulated devices: by the vendor's library where it is there, through the
// host where it isn't, and what is said when ranks disagree or stay away.
#include "vendor/common/collectives_on_chip.h"

#include "vendor/cambricon/neuware.h"

namespace ferry::cambricon {
namespace {

using namespace vendor_testing;
using ::testing::HasSubstr;

TEST(CambriconCollectives, OfTwoAndOfThreeDevices) {
  use_release("current");
  expect_collectives("cambricon", 2);
  expect_collectives("cambricon", 3);
}

TEST(CambriconCollectives, AreTheLibrarys) {
  use_release("current");
  EXPECT_EQ(how_all_reduce(*open_devices("cambricon", 1)[0]), "cnclAllReduce");
}

TEST(CambriconCollectives, ThroughTheHostWithoutTheLibrary) {
  use_release("old");
  EXPECT_THAT(how_all_reduce(*open_devices("cambricon", 1)[0]),
              HasSubstr("host memory, as libcncl.so can"));
  expect_collectives("cambricon", 2);
}

TEST(CambriconCollectives, WrongOnesAreFound) {
  use_release("current");
  expect_wrong_ones_found("cambricon",
                          {{"cnclAllReduce", "all_reduce"}, {"cnclAllGather", "all_gather"}});
}

TEST(CambriconCollectives, RanksThatDisagreeAllHearOfIt) {
  use_release("current");
  auto joined = Joined::of("cambricon", 2);
  ASSERT_TRUE(joined.ok()) << joined.error().message;
  for (const Status& heard : reduce(*joined, {1000, 1001})) EXPECT_FALSE(heard.ok());
}

TEST(CambriconCollectives, ARankThatStaysAwayIsAnError) {
  use_release("current");
  setenv("FERRY_EMULATED_COLLECTIVE_TIMEOUT_MS", "100", 1);
  auto joined = Joined::of("cambricon", 2);
  ASSERT_TRUE(joined.ok()) << joined.error().message;
  EXPECT_FALSE(reduce(*joined, {1000, 0})[0].ok());
}

TEST(CambriconCollectives, AnInitialisationThatNotAllJoinTimesOut) {
  use_release("current");
  setenv("FERRY_EMULATED_COLLECTIVE_TIMEOUT_MS", "100", 1);
  setenv("FERRY_EMULATED_ABSENT_RANK", "1", 1);
  const auto joined = Joined::of("cambricon", 2);
  ASSERT_FALSE(joined.ok());
  EXPECT_THAT(joined.error().message,
              HasSubstr("cnclInitComms: error 0x16 of CNCL (CNCL_RET_ASYNC_ERROR)"));
}

}  // namespace
}  // namespace ferry::cambricon
