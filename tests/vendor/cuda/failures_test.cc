// What the user is told when a machine is not as it should be, and what the emulated device does
// not let pass.
#include <gmock/gmock.h>

#include "device/conformance/conformance.h"
#include "device/op_paths.h"
#include "vendor/cuda/emulated_driver.h"

namespace ferry::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const BackendEntry& cuda_entry() {
  for (const BackendEntry* found : all_backends()) {
    if (found->name == "cuda") return *found;
  }
  std::abort();
}

Error error_of_opening(const BackendOptions& options = {}) {
  auto backend = open_backend("cuda", options);
  EXPECT_FALSE(backend.ok());
  return backend.ok() ? Error{} : backend.error();
}

TEST(CudaFailures, NoDriver) {
  setenv("FERRY_CUDA_DRIVER", "/nonexistent", 1);
  std::string why;
  EXPECT_EQ(cuda_entry().count_devices(&why), 0);
  EXPECT_THAT(why, AllOf(HasSubstr("cuda: /nonexistent/libcuda.so.1 can't be opened ("),
                         HasSubstr("install NVIDIA's driver")));
  EXPECT_EQ(error_of_opening().kind, ErrorKind::kNotFound);
}

TEST(CudaFailures, NoSymbol) {
  use_driver("broken");
  EXPECT_EQ(error_of_opening().message,
            "cuda: libcuda.so.1 has no cuStreamWaitEvent (it is for CUDA 13.0); update NVIDIA's "
            "driver");
}

TEST(CudaFailures, NoDevice) {
  use_driver("current");
  setenv("FERRY_EMULATED_DEVICES", "0", 1);
  std::string why;
  EXPECT_EQ(cuda_entry().count_devices(&why), 0);
  EXPECT_THAT(why, HasSubstr("cuInit: no device; check that the card is seated"));
  unsetenv("FERRY_EMULATED_DEVICES");
}

TEST(CudaFailures, NoSuchDevice) {
  use_driver("current");
  setenv("FERRY_EMULATED_DEVICES", "2", 1);
  std::string why;
  EXPECT_EQ(cuda_entry().count_devices(&why), 2);
  EXPECT_EQ(error_of_opening({.device = 2}).message, "cuda: device 2: there are 2, counted from 0");
}

// One line for each way, by the fault that the emulated driver is given.
TEST(CudaFailures, AreTold) {
  use_driver("current");
  const std::pair<const char*, const char*> faults[] = {
      {"busy", "cuDevicePrimaryCtxRetain: the device is busy; another process holds it alone"},
      {"permission", "no permission; let this user read and write /dev/nvidia*"},
      {"driver", "libcuda.so.1 and the loaded kernel module are of different releases"},
      {"old", "the driver is for CUDA 10.2, ferry needs 11.4 or newer"},
      {"chip", "emulated GPU is sm_60, ferry's kernels are for sm_80 and newer"},
      {"image", "takes none of the kernels (CUDA_ERROR_NO_BINARY_FOR_GPU)"},
  };
  for (const auto& [fault, message] : faults) {
    setenv("FERRY_EMULATED_FAULT", fault, 1);
    EXPECT_THAT(error_of_opening().message, HasSubstr(message)) << fault;
  }
  unsetenv("FERRY_EMULATED_FAULT");
}

TEST(CudaFailures, AMissingKernelIsNamed) {
  use_driver("current");
  setenv("FERRY_EMULATED_WRONG", "ferry_norm", 1);
  EXPECT_THAT(error_of_opening().message, HasSubstr("cuModuleGetFunction ferry_norm: error 500"));
  unsetenv("FERRY_EMULATED_WRONG");
}

TEST(CudaFailures, OutOfMemory) {
  use_driver("current");
  setenv("FERRY_EMULATED_MEMORY_MIB", "64", 1);
  const auto backend = open_on_driver();
  ASSERT_NE(backend, nullptr);
  const auto buffer = backend->allocate(int64_t{100} << 20);
  ASSERT_FALSE(buffer.ok());
  EXPECT_EQ(buffer.error().kind, ErrorKind::kOutOfMemory);
  EXPECT_THAT(buffer.error().message,
              AllOf(HasSubstr("100.0 MiB of device memory asked for"),
                    HasSubstr("of 64.0 MiB free"), HasSubstr("a shorter --context")));
}

TEST(CudaDoctor, EveryOpHasAPathAndNoneIsSaidToBeProvenOnAGpu) {
  use_driver("current");
  const auto backend = open_on_driver();
  ASSERT_NE(backend, nullptr);
  const auto* paths = dynamic_cast<const OpPaths*>(backend.get());
  ASSERT_NE(paths, nullptr);
  for (const OpPath& path : paths->op_paths()) {
    EXPECT_NE(path.how, "host") << op_name(path.op);
    EXPECT_EQ(path.proof, "emulated");
  }
  EXPECT_EQ(paths->op_paths().size(), static_cast<size_t>(kNumOps));
}

class EmulatedGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    use_driver("current");
    backend_ = open_on_driver();
    ASSERT_NE(backend_, nullptr);
    stream_ = backend_->create_stream().value();
    memory_ = backend_->allocate(4096).value();
  }
  // out[0] = x[row], with x of as many rows as it is said to have.
  Status gather(int32_t row, int64_t num_rows) {
    stream_->copy_in(memory_.data, &row, sizeof row);
    char* base = static_cast<char*>(memory_.data);
    stream_->gather_rows({.x = TensorView::contiguous(base + 1024, Dtype::kF32, {num_rows, 4}),
                          .rows = TensorView::contiguous(base, Dtype::kI32, {1}),
                          .out = TensorView::contiguous(base + 64, Dtype::kF32, {1, 4})});
    return stream_->synchronize();
  }

  std::shared_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  Buffer memory_;
};

TEST_F(EmulatedGpu, TheHostCantReachDeviceMemory) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  volatile char* data = static_cast<char*>(memory_.data);
  EXPECT_DEATH(static_cast<void>(data[0]), "");
  EXPECT_DEATH(data[4095] = 1, "");
}

TEST_F(EmulatedGpu, AnIndexOutOfRangeStopsTheStreamForGood) {
  EXPECT_TRUE(gather(1, 2).ok());
  const Status status = gather(2, 2);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("error 719 (CUDA_ERROR_LAUNCH_FAILED)"));
  EXPECT_FALSE(stream_->synchronize().ok());
  EXPECT_FALSE(gather(1, 2).ok());
}

TEST_F(EmulatedGpu, AnAddressOutsideOfWhatWasAllocatedIsFound) {
  const Status status = gather(1000, 2000);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("error 700 (CUDA_ERROR_ILLEGAL_ADDRESS)"));
}

TEST_F(EmulatedGpu, EventsOrderTwoStreams) {
  auto second = backend_->create_stream().value();
  for (int32_t round = 1; round < 200; ++round) {
    int32_t out = 0;
    stream_->copy_in(memory_.data, &round, sizeof round);
    second->wait(stream_->record());
    second->copy_out(&out, memory_.data, sizeof out);
    ASSERT_TRUE(second->synchronize().ok());
    ASSERT_EQ(out, round);
  }
  ASSERT_TRUE(stream_->synchronize().ok());
}

}  // namespace
}  // namespace ferry::cuda
