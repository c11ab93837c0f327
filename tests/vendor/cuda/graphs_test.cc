// Steps that come again are one graph of the driver; and what the emulated driver refuses while a
// stream is captured.
#include <vector>

#include "backends/cuda/device.h"
#include "vendor/cuda/emulated_driver.h"

namespace ferry::cuda {
namespace {

constexpr int64_t kNumbers = 300;

// x + y, and that + y, as a step.
class Steps {
 public:
  explicit Steps(Backend& backend)
      : stream_(backend.create_stream().value()),
        x_(backend.allocate(kNumbers * 4).value()),
        y_(backend.allocate(kNumbers * 4).value()),
        sum_(backend.allocate(kNumbers * 4).value()) {}

  // The last of `count` sums, with x all `x` and y all `y`.
  float run(float x, float y, int64_t count = kNumbers, bool copies_between = false) {
    const std::vector<float> xs(kNumbers, x), ys(kNumbers, y);
    stream_->copy_in(x_.data, xs.data(), kNumbers * 4);
    stream_->copy_in(y_.data, ys.data(), kNumbers * 4);
    const auto view = [count](const Buffer& buffer) {
      return TensorView::contiguous(buffer.data, Dtype::kF32, {1, count});
    };
    std::vector<float> between(kNumbers);
    stream_->begin_step();
    stream_->add({.a = view(x_), .b = view(y_), .out = view(sum_)});
    if (copies_between) stream_->copy_out(between.data(), sum_.data, count * 4);
    stream_->add({.a = view(sum_), .b = view(y_), .out = view(sum_)});
    stream_->end_step();
    std::vector<float> sums(kNumbers);
    stream_->copy_out(sums.data(), sum_.data, count * 4);
    EXPECT_TRUE(stream_->synchronize().ok());
    EXPECT_EQ(between[0], copies_between ? x + y : 0);
    return sums[static_cast<size_t>(count) - 1];
  }

 private:
  std::unique_ptr<Stream> stream_;
  Buffer x_, y_, sum_;
};

TEST(CudaGraphs, AreLaunchedFromTheSecondTimeOn) {
  use_driver("current");
  const auto backend = open_on_driver();
  ASSERT_NE(backend, nullptr);
  Steps steps(*backend);
  for (int i = 0; i < 5; ++i) {
    const auto x = static_cast<float>(i);
    EXPECT_EQ(steps.run(x, 10), x + 20);
    EXPECT_EQ(graph_launches(), i);
  }
}

TEST(CudaGraphs, OtherShapesAreOtherSteps) {
  use_driver("current");
  const auto backend = open_on_driver();
  ASSERT_NE(backend, nullptr);
  Steps steps(*backend);
  for (int round = 0; round < 4; ++round) {
    for (const int64_t count : {7, 300, 8}) EXPECT_EQ(steps.run(1, 2, count), 5);
    EXPECT_EQ(graph_launches(), 3 * round);
  }
  // More steps than are remembered: the first are forgotten, and found again.
  for (int64_t count = 9; count < 109; ++count) EXPECT_EQ(steps.run(3, 1, count), 5);
  EXPECT_EQ(graph_launches(), 9);
  EXPECT_EQ(steps.run(4, 2, 7), 8);
  EXPECT_EQ(graph_launches(), 9);
  EXPECT_EQ(steps.run(5, 2, 7), 9);
  EXPECT_EQ(graph_launches(), 10);
}

TEST(CudaGraphs, AStepWithACopyInItIsNone) {
  use_driver("current");
  const auto backend = open_on_driver();
  ASSERT_NE(backend, nullptr);
  Steps steps(*backend);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(steps.run(1, 1, kNumbers, true), 3);
  EXPECT_EQ(graph_launches(), 0);
  // Nor is what was held back of it lost, when it starts as one that is.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(steps.run(1, 2), 5);
  EXPECT_EQ(graph_launches(), 2);
  EXPECT_EQ(steps.run(2, 2, kNumbers, true), 6);
  EXPECT_EQ(graph_launches(), 2);
}

TEST(CudaGraphs, ADriverThatMakesNoneIsDoneWithout) {
  use_driver("current");
  for (const char* call : {"cuGraphInstantiateWithFlags", "cuStreamBeginCapture_v2"}) {
    setenv("FERRY_EMULATED_WRONG", call, 1);
    const auto backend = open_on_driver();
    ASSERT_NE(backend, nullptr);
    Steps steps(*backend);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(steps.run(2, 3), 8);
    EXPECT_EQ(graph_launches(), 0);
  }
  unsetenv("FERRY_EMULATED_WRONG");
}

// One launch of a kernel on a stream that is captured.
class Captured : public ::testing::Test {
 protected:
  void SetUp() override {
    use_driver("current");
    device_ = Device::open(0).value();
    ASSERT_EQ(driver().cuStreamCreate(&stream_, kNonBlocking), kSuccess);
    ASSERT_EQ(driver().cuMemAlloc_v2(&memory_, 4096), kSuccess);
    ASSERT_EQ(driver().cuMemsetD8Async(memory_, 0, 4096, stream_), kSuccess);
    ASSERT_EQ(driver().cuStreamBeginCapture_v2(stream_, kCaptureThreadLocal), kSuccess);
    auto* numbers = reinterpret_cast<float*>(static_cast<uintptr_t>(memory_));
    TopLogitsParams params = {.x = numbers,
                              .x_stride = 4,
                              .size = 4,
                              .columns = nullptr,
                              .columns_stride = 0,
                              .top = 1,
                              .values = numbers + 16,
                              .values_stride = 1,
                              .ids = reinterpret_cast<int32_t*>(numbers + 32),
                              .ids_stride = 1};
    void* pointers[] = {&params};
    ASSERT_EQ(driver().cuLaunchKernel(device_->function(Kernel::k_top_logits), 1, 1, 1, kThreads, 1,
                                      1, 0, stream_, pointers, nullptr),
              kSuccess);
  }
  void TearDown() override { driver().cuStreamDestroy_v2(stream_); }
  const Driver& driver() const { return device_->driver(); }
  void expect_invalidated() {
    Graph graph = nullptr;
    EXPECT_EQ(driver().cuStreamEndCapture(stream_, &graph), kCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
    EXPECT_EQ(driver().cuStreamSynchronize(stream_), kSuccess);
  }

  std::shared_ptr<Device> device_;
  DriverStream stream_ = nullptr;
  DeviceAddress memory_ = 0;
};

TEST_F(Captured, CantBeWaitedFor) {
  EXPECT_EQ(driver().cuStreamSynchronize(stream_), kCaptureUnsupported);
  expect_invalidated();
}

TEST_F(Captured, CantChangeMemory) {
  DeviceAddress more = 0;
  EXPECT_EQ(driver().cuMemAlloc_v2(&more, 64), kCaptureUnsupported);
  EXPECT_EQ(driver().cuMemFree_v2(memory_), kCaptureUnsupported);
  expect_invalidated();
}

TEST_F(Captured, CantBeTwice) {
  EXPECT_EQ(driver().cuStreamBeginCapture_v2(stream_, kCaptureThreadLocal), kIllegalState);
  EXPECT_EQ(driver().cuStreamBeginCapture_v2(nullptr, kCaptureThreadLocal), kCaptureUnsupported);
  EXPECT_EQ(driver().cuCtxSynchronize(), kCaptureUnsupported);
  expect_invalidated();
}

TEST_F(Captured, ReadsTheMemoryThatThereIsWhenItIsLaunched) {
  Graph graph = nullptr;
  GraphExec exec = nullptr;
  ASSERT_EQ(driver().cuStreamEndCapture(stream_, &graph), kSuccess);
  ASSERT_EQ(driver().cuGraphInstantiateWithFlags(&exec, graph, 0), kSuccess);
  EXPECT_EQ(driver().cuGraphDestroy(graph), kSuccess);
  EXPECT_EQ(driver().cuGraphLaunch(exec, stream_), kSuccess);
  EXPECT_EQ(driver().cuStreamSynchronize(stream_), kSuccess);
  EXPECT_EQ(driver().cuMemFree_v2(memory_), kSuccess);
  EXPECT_EQ(driver().cuGraphLaunch(exec, stream_), kSuccess);
  EXPECT_EQ(driver().cuStreamSynchronize(stream_), kIllegalAddress);
  EXPECT_EQ(driver().cuGraphExecDestroy(exec), kSuccess);
}

}  // namespace
}  // namespace ferry::cuda
