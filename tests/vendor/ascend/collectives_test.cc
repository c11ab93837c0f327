// Collectives of several emulated devices: by the vendor's library where it is there, through the
// host where it isn't, and what is said when ranks disagree or stay away.
#include "vendor/common/collectives_on_chip.h"

#include "vendor/ascend/cann.h"

namespace ferry::ascend {
namespace {

using namespace vendor_testing;
using ::testing::HasSubstr;

TEST(AscendCollectives, OfTwoAndOfThreeDevices) {
  use_release("current");
  expect_collectives("ascend", 2);
  expect_collectives("ascend", 3);
}

TEST(AscendCollectives, AreTheLibrarys) {
  use_release("current");
  EXPECT_EQ(how_all_reduce(*open_devices("ascend", 1)[0]), "HcclAllReduce");
}

TEST(AscendCollectives, ThroughTheHostWithoutTheLibrary) {
  use_release("old");
  EXPECT_THAT(how_all_reduce(*open_devices("ascend", 1)[0]),
              HasSubstr("host memory, as libhccl.so can"));
  expect_collectives("ascend", 2);
}

TEST(AscendCollectives, WrongOnesAreFound) {
  use_release("current");
  expect_wrong_ones_found("ascend",
                          {{"HcclAllReduce", "all_reduce"}, {"HcclAllGather", "all_gather"}});
}

TEST(AscendCollectives, RanksThatDisagreeAllHearOfIt) {
  use_release("current");
  auto joined = Joined::of("ascend", 2);
  ASSERT_TRUE(joined.ok()) << joined.error().message;
  for (const Status& heard : reduce(*joined, {1000, 1001})) EXPECT_FALSE(heard.ok());
}

TEST(AscendCollectives, ARankThatStaysAwayIsAnError) {
  use_release("current");
  setenv("FERRY_EMULATED_COLLECTIVE_TIMEOUT_MS", "100", 1);
  auto joined = Joined::of("ascend", 2);
  ASSERT_TRUE(joined.ok()) << joined.error().message;
  EXPECT_FALSE(reduce(*joined, {1000, 0})[0].ok());
}

TEST(AscendCollectives, AnInitialisationThatNotAllJoinTimesOut) {
  use_release("current");
  setenv("FERRY_EMULATED_COLLECTIVE_TIMEOUT_MS", "100", 1);
  setenv("FERRY_EMULATED_ABSENT_RANK", "1", 1);
  const auto joined = Joined::of("ascend", 2);
  ASSERT_FALSE(joined.ok());
  EXPECT_THAT(
      joined.error().message,
      HasSubstr("HcclCommInitRootInfo: HCCL gave up waiting for the other ranks (error 9)"));
}

}  // namespace
}  // namespace ferry::ascend
