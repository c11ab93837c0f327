// Collectives of several emulated devices: by the vendor's library where it is there, through the
// host where it isn't, and what is said when ranks disagree or stay away.
#include "vendor/common/collectives_on_chip.h"

#include "vendor/cuda/emulated_driver.h"

namespace ferry::cuda {
namespace {

using namespace vendor_testing;
using ::testing::HasSubstr;

void use_nccl() {
  use_driver("current");
  setenv("FERRY_NCCL", FERRY_EMULATED_CUDA "-current", 1);
}

TEST(CudaCollectives, OfTwoAndOfThreeDevices) {
  use_nccl();
  expect_collectives("cuda", 2);
  expect_collectives("cuda", 3);
}

TEST(CudaCollectives, AreTheLibrarys) {
  use_nccl();
  EXPECT_EQ(how_all_reduce(*open_devices("cuda", 1)[0]), "ncclAllReduce");
}

TEST(CudaCollectives, ThroughTheHostWithoutTheLibrary) {
  use_driver("current");
  setenv("FERRY_NCCL", "/nonexistent", 1);
  EXPECT_THAT(how_all_reduce(*open_devices("cuda", 1)[0]),
              HasSubstr("host memory, as libnccl.so.2 can"));
  expect_collectives("cuda", 2);
}

TEST(CudaCollectives, WrongOnesAreFound) {
  use_nccl();
  expect_wrong_ones_found("cuda",
                          {{"ncclAllReduce", "all_reduce"}, {"ncclAllGather", "all_gather"}});
}

TEST(CudaCollectives, RanksThatDisagreeAllHearOfIt) {
  use_nccl();
  auto joined = Joined::of("cuda", 2);
  ASSERT_TRUE(joined.ok()) << joined.error().message;
  for (const Status& heard : reduce(*joined, {1000, 1001})) EXPECT_FALSE(heard.ok());
}

TEST(CudaCollectives, ARankThatStaysAwayIsAnError) {
  use_nccl();
  setenv("FERRY_EMULATED_COLLECTIVE_TIMEOUT_MS", "100", 1);
  auto joined = Joined::of("cuda", 2);
  ASSERT_TRUE(joined.ok()) << joined.error().message;
  EXPECT_FALSE(reduce(*joined, {1000, 0})[0].ok());
}

TEST(CudaCollectives, AnInitialisationThatNotAllJoinTimesOut) {
  use_nccl();
  setenv("FERRY_EMULATED_COLLECTIVE_TIMEOUT_MS", "100", 1);
  setenv("FERRY_EMULATED_ABSENT_RANK", "1", 1);
  const auto joined = Joined::of("cuda", 2);
  ASSERT_FALSE(joined.ok());
  EXPECT_THAT(joined.error().message, HasSubstr("ncclCommInitRank: error 6 of NCCL (remote process "
                                                "exited or there was a network error)"));
}

}  // namespace
}  // namespace ferry::cuda
