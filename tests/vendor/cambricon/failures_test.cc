// What the user is told when a machine is not as it should be: one line for each way.
#include <gmock/gmock.h>

#include "device/conformance/conformance.h"
#include "vendor/cambricon/neuware.h"

namespace ferry::cambricon {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const BackendEntry& entry() {
  for (const BackendEntry* found : all_backends()) {
    if (found->name == "cambricon") return *found;
  }
  std::abort();
}

Error error_of(const BackendOptions& options = {}) {
  auto backend = open_backend("cambricon", options);
  EXPECT_FALSE(backend.ok());
  return backend.ok() ? Error{} : backend.error();
}

TEST(CambriconFailures, NoLibrary) {
  setenv("NEUWARE_HOME", "/nonexistent", 1);
  std::string why;
  EXPECT_EQ(entry().count_devices(&why), 0);
  EXPECT_THAT(why, AllOf(HasSubstr("cambricon: libcnrt.so can't be opened (/nonexistent/lib64/"),
                         HasSubstr("install Cambricon Neuware, or set NEUWARE_HOME")));
  EXPECT_EQ(error_of().kind, ErrorKind::kNotFound);
}

TEST(CambriconFailures, NoSymbol) {
  use_release("broken");
  EXPECT_EQ(error_of().message,
            "cambricon: libcnnl.so has no cnnlScatterNd_v2 (CNRT 6.14.1, CNNL 1.28.3); ferry needs "
            "a Neuware release that has it");
}

TEST(CambriconFailures, NoDevice) {
  use_release("current");
  setenv("FERRY_EMULATED_DEVICES", "0", 1);
  std::string why;
  EXPECT_EQ(entry().count_devices(&why), 0);
  EXPECT_THAT(why, HasSubstr("cnrtGetDeviceCount: no device; check that the card is seated"));
}

TEST(CambriconFailures, NoSuchDevice) {
  use_release("current");
  setenv("FERRY_EMULATED_DEVICES", "2", 1);
  EXPECT_EQ(error_of({.device = 2}).message, "cambricon: device 2: there are 2, counted from 0");
}

TEST(CambriconFailures, Busy) {
  use_release("current");
  setenv("FERRY_EMULATED_FAULT", "busy", 1);
  const Error error = error_of();
  EXPECT_EQ(error.kind, ErrorKind::kBusy);
  EXPECT_THAT(error.message, HasSubstr("the device is busy; another process holds it"));
}

TEST(CambriconFailures, NoPermission) {
  use_release("current");
  setenv("FERRY_EMULATED_FAULT", "permission", 1);
  EXPECT_THAT(error_of().message,
              HasSubstr("no permission; let this user read and write /dev/cambricon_dev*"));
}

TEST(CambriconFailures, OldDriver) {
  use_release("current");
  setenv("FERRY_EMULATED_FAULT", "driver", 1);
  EXPECT_THAT(error_of().message,
              HasSubstr("driver 4.2.10 does not fit CNRT 6.14.1 (cnrtErrorCndrvFuncNotFound); "
                        "update the driver"));
}

TEST(CambriconFailures, OutOfMemory) {
  use_release("current");
  setenv("FERRY_EMULATED_MEMORY_MIB", "64", 1);
  const auto backend = open_emulated();
  ASSERT_NE(backend, nullptr);
  const auto buffer = backend->allocate(int64_t{100} << 20);
  ASSERT_FALSE(buffer.ok());
  EXPECT_EQ(buffer.error().kind, ErrorKind::kOutOfMemory);
  EXPECT_THAT(buffer.error().message,
              AllOf(HasSubstr("100.0 MiB of device memory asked for"),
                    HasSubstr("of 64.0 MiB free"), HasSubstr("a shorter --context")));
}

// A constant of the vendor's that ferry has wrong does not fail, it computes something else.
TEST(CambriconFailures, AnOperationThatGivesWrongResultsIsNamed) {
  use_release("current");
  setenv("FERRY_EMULATED_WRONG", "cnnlCastDataType", 1);
  EXPECT_THAT(error_of().message,
              HasSubstr("cnnlCastDataType (f16) of CNNL 1.28.3 gives other results than expected"));
}

TEST(CambriconFailures, AWrongOperationWithAFallBackIsNotUsed) {
  use_release("current");
  setenv("FERRY_EMULATED_WRONG", "cnnlTopKTensor_v3", 1);
  const auto subject = open_emulated();
  ASSERT_NE(subject, nullptr);
  const auto reference = open_backend("reference", {}).value();
  for (const auto& result :
       run_conformance(*subject, *reference, {.filter = "moe_gate sigmoid E=256"})) {
    EXPECT_TRUE(result.passed) << result.name << ": " << result.detail;
  }
}

TEST(Emulator, TheHostCantReachDeviceMemory) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  use_release("current");
  const auto backend = open_emulated();
  ASSERT_NE(backend, nullptr);
  const Buffer buffer = backend->allocate(100).value();
  volatile char* data = static_cast<char*>(buffer.data);
  EXPECT_DEATH(static_cast<void>(data[0]), "");
  EXPECT_DEATH(data[99] = 1, "");
}

TEST(Emulator, AnIndexOutOfRangeStopsTheStreamForGood) {
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
  EXPECT_THAT(status.error().message, HasSubstr("error 100132 (cnrtErrorKernelTrap)"));
  EXPECT_FALSE(stream->synchronize().ok());
}

TEST(CambriconStreams, EventsOrderTwoStreams) {
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
}  // namespace ferry::cambricon
