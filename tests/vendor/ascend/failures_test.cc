// What the user is told when a machine is not as it should be: one line for each way.
#include <gmock/gmock.h>

#include "device/conformance/conformance.h"
#include "vendor/ascend/cann.h"

namespace ferry::ascend {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const BackendEntry& entry() {
  for (const BackendEntry* found : all_backends()) {
    if (found->name == "ascend") return *found;
  }
  std::abort();
}

Error error_of(const BackendOptions& options = {}) {
  auto backend = open_backend("ascend", options);
  EXPECT_FALSE(backend.ok());
  return backend.ok() ? Error{} : backend.error();
}

TEST(AscendFailures, NoLibrary) {
  setenv("ASCEND_HOME_PATH", "/nonexistent", 1);
  std::string why;
  EXPECT_EQ(entry().count_devices(&why), 0);
  EXPECT_THAT(why, AllOf(HasSubstr("ascend: libascendcl.so can't be opened (/nonexistent/lib64/"),
                         HasSubstr("install CANN"), HasSubstr("ASCEND_HOME_PATH")));
  EXPECT_EQ(error_of().kind, ErrorKind::kNotFound);
}

TEST(AscendFailures, NoSymbol) {
  use_release("broken");
  EXPECT_EQ(error_of().message,
            "ascend: libopapi.so has no aclnnScatterNdUpdateGetWorkspaceSize (runtime 1.15.2); "
            "ferry needs a CANN release that has it");
}

TEST(AscendFailures, NoDevice) {
  use_release("current");
  setenv("FERRY_EMULATED_DEVICES", "0", 1);
  std::string why;
  EXPECT_EQ(entry().count_devices(&why), 0);
  EXPECT_THAT(why, HasSubstr("aclrtGetDeviceCount: no device; check that the card is seated"));
}

TEST(AscendFailures, NoSuchDevice) {
  use_release("current");
  setenv("FERRY_EMULATED_DEVICES", "2", 1);
  EXPECT_EQ(error_of({.device = 2}).message, "ascend: device 2: there are 2, counted from 0");
}

TEST(AscendFailures, Busy) {
  use_release("current");
  setenv("FERRY_EMULATED_FAULT", "busy", 1);
  const Error error = error_of();
  EXPECT_EQ(error.kind, ErrorKind::kBusy);
  EXPECT_THAT(error.message, HasSubstr("another process may hold it (npu-smi info lists them)"));
}

TEST(AscendFailures, NoPermission) {
  use_release("current");
  setenv("FERRY_EMULATED_FAULT", "permission", 1);
  EXPECT_THAT(error_of().message,
              HasSubstr("no permission; let this user read and write /dev/davinci*"));
}

TEST(AscendFailures, OldDriver) {
  use_release("current");
  setenv("FERRY_EMULATED_FAULT", "driver", 1);
  EXPECT_THAT(error_of().message,
              HasSubstr("the driver does not fit CANN runtime 1.15.2; install the driver and "
                        "firmware that this CANN was released with (EZ9999: emulated driver"));
}

// A release that ferry doesn't know does not fail, it computes something else.
TEST(AscendFailures, AnOperatorThatGivesWrongResultsIsNamed) {
  use_release("current");
  setenv("FERRY_EMULATED_WRONG", "aclnnCast", 1);
  EXPECT_THAT(error_of().message,
              HasSubstr("aclnnCast (f16) of CANN runtime 1.15.2 gives other results than"));
}

TEST(AscendEmulator, TheHostCantReachDeviceMemory) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  use_release("current");
  const auto backend = open_emulated();
  ASSERT_NE(backend, nullptr);
  const Buffer buffer = backend->allocate(100).value();
  volatile char* data = static_cast<char*>(buffer.data);
  EXPECT_DEATH(static_cast<void>(data[0]), "");
  EXPECT_DEATH(data[99] = 1, "");
}

TEST(AscendEmulator, AnIndexOutOfRangeStopsTheStreamForGood) {
  use_release("current");
  const auto backend = open_emulated();
  ASSERT_NE(backend, nullptr);
  auto stream = backend->create_stream().value();
  const Buffer memory = backend->allocate(4096).value();
  const int32_t row = 7;
  stream->copy_in(memory.data, &row, sizeof row);
  char* base = static_cast<char*>(memory.data);
  const TensorView rows = TensorView::contiguous(base, Dtype::kI32, {1});
  const TensorView x = TensorView::contiguous(base + 1024, Dtype::kF32, {2, 4});
  const TensorView out = TensorView::contiguous(base + 2048, Dtype::kF32, {1, 4});
  stream->gather_rows({.x = x, .rows = rows, .out = out});
  const Status status = stream->synchronize();
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("error 507015"));
  EXPECT_FALSE(stream->synchronize().ok());
}

TEST(AscendStreams, OneThatFailedHoldsNoOtherUp) {
  use_release("current");
  const auto backend = open_emulated();
  ASSERT_NE(backend, nullptr);
  auto failed = backend->create_stream().value(), other = backend->create_stream().value();
  const Buffer memory = backend->allocate(4096).value();
  char* base = static_cast<char*>(memory.data);
  const int32_t row = 7;
  failed->copy_in(base, &row, sizeof row);
  failed->gather_rows({.x = TensorView::contiguous(base + 1024, Dtype::kF32, {2, 4}),
                       .rows = TensorView::contiguous(base, Dtype::kI32, {1}),
                       .out = TensorView::contiguous(base + 2048, Dtype::kF32, {1, 4})});
  other->wait(failed->record());
  EXPECT_TRUE(other->synchronize().ok());
  EXPECT_FALSE(failed->synchronize().ok());
}

TEST(AscendStreams, EventsOrderTwoStreams) {
  use_release("current");
  const auto backend = open_emulated();
  ASSERT_NE(backend, nullptr);
  auto first = backend->create_stream().value(), second = backend->create_stream().value();
  const Buffer memory = backend->allocate(1 << 20).value();
  for (int32_t round = 1; round < 200; ++round) {
    int32_t out = 0;
    first->copy_in(memory.data, &round, sizeof round);
    second->wait(first->record());
    second->copy_out(&out, memory.data, sizeof out);
    ASSERT_TRUE(second->synchronize().ok());
    ASSERT_EQ(out, round);
  }
  ASSERT_TRUE(first->synchronize().ok());
}

}  // namespace
}  // namespace ferry::ascend
