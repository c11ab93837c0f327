// What the emulated cuBLASLt does not let pass: a product as it should be, and then with one thing
// wrong at a time.
#include <vector>

#include "backends/cuda/device.h"
#include "vendor/cuda/emulated_driver.h"

namespace ferry::cuda {
namespace {

constexpr int64_t kLtRows = 8, kLtTokens = 16, kLtCols = 32;
constexpr int64_t kLtWorkspace = 1 << 20;

// All that a call is made of. Operands are zeros.
struct LtCall {
  LtHandle handle = nullptr;
  LtOperation operation = nullptr;
  LtLayout w = nullptr, x = nullptr, out = nullptr;
  LtPreference preference = nullptr;
  LtHeuristic best{};
  float one = 1, zero = 0;
  const void* alpha = &one;
  char* w_data = nullptr;
  char* x_data = nullptr;
  char* out_data = nullptr;
  char* workspace = nullptr;
  size_t workspace_bytes = kLtWorkspace;
  DriverStream stream = nullptr;
};

class EmulatedCublasLt : public ::testing::Test {
 protected:
  void SetUp() override {
    use_driver("current");
    use_cublaslt("current");
    device_ = Device::open(0).value();
    std::string why;
    lt_ = load_cublaslt(13000, &why);
    ASSERT_NE(lt_, nullptr) << why;
    w_ = zeros(kLtRows * kLtCols * 2);
    x_ = zeros(kLtTokens * kLtCols * 2);
    out_ = zeros(kLtTokens * kLtRows * 4);
    workspace_ = zeros(kLtWorkspace);
    call_.w_data = static_cast<char*>(w_.data);
    call_.x_data = static_cast<char*>(x_.data);
    call_.out_data = static_cast<char*>(out_.data);
    call_.workspace = static_cast<char*>(workspace_.data);
    ASSERT_EQ(lt_->cublasLtCreate(&call_.handle), kLtSuccess);
    ASSERT_EQ(device_->driver().cuStreamCreate(&call_.stream, kNonBlocking), kSuccess);
    call_.w = layout(kLtBF16, kLtCols, kLtRows, kLtCols);
    call_.x = layout(kLtBF16, kLtCols, kLtTokens, kLtCols);
    call_.out = layout(kLtF32, kLtRows, kLtTokens, kLtRows);
    call_.operation = operation(kLtCompute32F);
    const uint64_t workspace = kLtWorkspace;
    const uint32_t alignment = 16;
    ASSERT_EQ(lt_->cublasLtMatmulPreferenceCreate(&call_.preference), kLtSuccess);
    ASSERT_EQ(prefer(kLtPreferenceWorkspaceBytes, workspace), kLtSuccess);
    for (int at = kLtPreferenceAlignmentA; at <= kLtPreferenceAlignmentD; ++at) {
      ASSERT_EQ(prefer(at, alignment), kLtSuccess);
    }
    ASSERT_EQ(ask(call_), kLtSuccess);
    ASSERT_EQ(make(call_), kLtSuccess);
    ASSERT_EQ(device_->driver().cuStreamSynchronize(call_.stream), kSuccess);
  }
  void TearDown() override {
    if (call_.stream != nullptr) device_->driver().cuStreamDestroy_v2(call_.stream);
  }

  // With room behind, for what is only moved.
  Buffer zeros(int64_t bytes) const {
    Buffer buffer = device_->pool().allocate(bytes + 512, nullptr).value();
    const std::vector<char> host(static_cast<size_t>(buffer.bytes));
    EXPECT_TRUE(device_->send(buffer.data, host.data(), buffer.bytes).ok());
    return buffer;
  }
  LtLayout layout(int type, int64_t rows, int64_t columns, int64_t stride) const {
    LtLayout made = nullptr;
    EXPECT_EQ(lt_->cublasLtMatrixLayoutCreate(&made, type, static_cast<uint64_t>(rows),
                                              static_cast<uint64_t>(columns), stride),
              kLtSuccess);
    return made;
  }
  LtOperation operation(int compute_type) const {
    LtOperation made = nullptr;
    EXPECT_EQ(lt_->cublasLtMatmulDescCreate(&made, compute_type, kLtF32), kLtSuccess);
    EXPECT_EQ(set(made, kLtOperationTransA, int32_t{kLtTranspose}), kLtSuccess);
    return made;
  }
  template <typename T>
  int set(LtOperation operation, int attribute, const T& value) const {
    return lt_->cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value);
  }
  template <typename T>
  int prefer(int attribute, const T& value) const {
    return lt_->cublasLtMatmulPreferenceSetAttribute(call_.preference, attribute, &value,
                                                     sizeof value);
  }
  int ask(LtCall& call) const {
    int found = 0;
    const int status =
        lt_->cublasLtMatmulAlgoGetHeuristic(call.handle, call.operation, call.w, call.x, call.out,
                                            call.out, call.preference, 1, &call.best, &found);
    EXPECT_EQ(found, status == kLtSuccess ? 1 : 0);
    return status;
  }
  int make(const LtCall& call) const {
    return lt_->cublasLtMatmul(call.handle, call.operation, call.alpha, call.w_data, call.w,
                               call.x_data, call.x, &call.zero, call.out_data, call.out,
                               call.out_data, call.out, &call.best.algorithm, call.workspace,
                               call.workspace_bytes, call.stream);
  }

  std::shared_ptr<Device> device_;
  std::shared_ptr<const CublasLt> lt_;
  Buffer w_, x_, out_, workspace_;
  LtCall call_;
};

TEST_F(EmulatedCublasLt, HandlesAndDescriptorsThatWereLetGo) {
  LtCall call = call_;
  call.operation = operation(kLtCompute32F);
  EXPECT_EQ(make(call), kLtSuccess);
  EXPECT_EQ(lt_->cublasLtMatmulDescDestroy(call.operation), kLtSuccess);
  EXPECT_EQ(make(call), kLtInvalidValue);
  EXPECT_EQ(lt_->cublasLtMatmulDescDestroy(call.operation), kLtInvalidValue);
  call = call_;
  EXPECT_EQ(lt_->cublasLtMatrixLayoutDestroy(call.x), kLtSuccess);
  EXPECT_EQ(make(call), kLtInvalidValue);
  EXPECT_EQ(ask(call), kLtInvalidValue);
  EXPECT_EQ(lt_->cublasLtDestroy(call.handle), kLtSuccess);
  EXPECT_EQ(make(call), kLtNotInitialized);
  EXPECT_EQ(lt_->cublasLtDestroy(call.handle), kLtNotInitialized);
}

TEST_F(EmulatedCublasLt, AttributesOfAnotherSizeOrNone) {
  EXPECT_EQ(set(call_.operation, kLtOperationTransA, int64_t{1}), kLtInvalidValue);
  EXPECT_EQ(set(call_.operation, kLtOperationBiasPointer, int32_t{0}), kLtInvalidValue);
  EXPECT_EQ(set(call_.operation, 99, int32_t{0}), kLtInvalidValue);
  EXPECT_EQ(prefer(kLtPreferenceWorkspaceBytes, uint32_t{1}), kLtInvalidValue);
  EXPECT_EQ(prefer(kLtPreferenceAlignmentA, uint32_t{24}), kLtInvalidValue);
  EXPECT_EQ(prefer(4, uint32_t{16}), kLtInvalidValue);
  LtLayout made = nullptr;
  EXPECT_EQ(lt_->cublasLtMatrixLayoutCreate(&made, kLtBF16, 32, 8, 31), kLtInvalidValue);
}

TEST_F(EmulatedCublasLt, ShapesAndTypesThatDontFit) {
  LtCall call = call_;
  call.operation = operation(77);  // TF32
  EXPECT_EQ(ask(call), kLtNotSupported);
  call = call_;
  call.x = layout(kLtF32, kLtCols, kLtTokens, kLtCols);
  EXPECT_EQ(ask(call), kLtNotSupported);
  call.x = layout(kLtBF16, kLtCols - 1, kLtTokens, kLtCols);
  EXPECT_EQ(ask(call), kLtNotSupported);
  call.x = layout(kLtBF16, kLtCols, kLtTokens, kLtCols + 1);  // columns that are not aligned
  EXPECT_EQ(ask(call), kLtNotSupported);
  // An algorithm is for the shape that it was asked for.
  call.x = layout(kLtBF16, kLtCols, kLtTokens, kLtCols + 8);
  EXPECT_EQ(make(call), kLtInvalidValue);
  call = call_;
  call.best.algorithm.data[0] ^= 1;
  EXPECT_EQ(make(call), kLtInvalidValue);
}

TEST_F(EmulatedCublasLt, ABiasThatIsNotThere) {
  LtCall call = call_;
  call.operation = operation(kLtCompute32F);
  EXPECT_EQ(set(call.operation, kLtOperationEpilogue, kLtEpilogueBias), kLtSuccess);
  EXPECT_EQ(ask(call), kLtNotSupported);
  const Buffer bias = zeros(kLtRows * 4);
  const void* data = bias.data;
  EXPECT_EQ(set(call.operation, kLtOperationBiasPointer, data), kLtSuccess);
  EXPECT_EQ(ask(call), kLtSuccess);
  EXPECT_EQ(make(call), kLtSuccess);
  data = static_cast<const char*>(bias.data) + 4;
  EXPECT_EQ(set(call.operation, kLtOperationBiasPointer, data), kLtSuccess);
  EXPECT_EQ(make(call), kLtInvalidValue);
}

TEST_F(EmulatedCublasLt, MemoryThatIsNotItsOwnOrNotAligned) {
  const auto refused = [this](const auto& change) {
    LtCall call = call_;
    change(call);
    return make(call) == kLtInvalidValue;
  };
  std::vector<char> host(static_cast<size_t>(kLtRows * kLtCols * 2));
  EXPECT_TRUE(refused([&](LtCall& call) { call.w_data = host.data(); }));
  EXPECT_TRUE(refused([](LtCall& call) { call.w_data += 4096; }));
  EXPECT_TRUE(refused([](LtCall& call) { call.x_data += 8; }));
  EXPECT_TRUE(refused([](LtCall& call) { call.out_data += 1024; }));
  EXPECT_TRUE(refused([](LtCall& call) { call.out_data = call.x_data; }));
  EXPECT_TRUE(refused([](LtCall& call) { call.workspace_bytes -= 1; }));
  EXPECT_TRUE(refused([](LtCall& call) { call.workspace += 128; }));
  EXPECT_TRUE(refused([](LtCall& call) { call.workspace = nullptr; }));
  EXPECT_TRUE(refused([&](LtCall& call) { call.alpha = w_.data; }));
}

TEST_F(EmulatedCublasLt, StreamsThatAreNotOfItsContext) {
  LtCall call = call_;
  call.stream = nullptr;
  EXPECT_EQ(make(call), kLtExecutionFailed);
  setenv("FERRY_EMULATED_DEVICES", "2", 1);
  const auto second = Device::open(1).value();
  DriverStream stream = nullptr;
  ASSERT_EQ(second->driver().cuStreamCreate(&stream, kNonBlocking), kSuccess);
  EXPECT_EQ(make(call_), kLtNotInitialized);  // a handle of the first device
  ASSERT_TRUE(device_->bind().ok());
  call.stream = stream;
  EXPECT_EQ(make(call), kLtExecutionFailed);
  EXPECT_EQ(make(call_), kLtSuccess);
  second->driver().cuStreamDestroy_v2(stream);
}

// As a kernel would, it finds the memory that there is when it runs.
TEST_F(EmulatedCublasLt, MemoryThatIsGoneWhenItsGraphIsLaunched) {
  const Driver& driver = device_->driver();
  DeviceAddress out = 0;
  ASSERT_EQ(driver.cuMemAlloc_v2(&out, kLtTokens * kLtRows * 4), kSuccess);
  LtCall call = call_;
  call.out_data = reinterpret_cast<char*>(static_cast<uintptr_t>(out));
  ASSERT_EQ(driver.cuStreamBeginCapture_v2(call.stream, kCaptureThreadLocal), kSuccess);
  EXPECT_EQ(make(call), kLtSuccess);
  Graph graph = nullptr;
  GraphExec exec = nullptr;
  ASSERT_EQ(driver.cuStreamEndCapture(call.stream, &graph), kSuccess);
  ASSERT_EQ(driver.cuGraphInstantiateWithFlags(&exec, graph, 0), kSuccess);
  EXPECT_EQ(driver.cuGraphDestroy(graph), kSuccess);
  EXPECT_EQ(driver.cuGraphLaunch(exec, call.stream), kSuccess);
  EXPECT_EQ(driver.cuStreamSynchronize(call.stream), kSuccess);
  EXPECT_EQ(driver.cuMemFree_v2(out), kSuccess);
  EXPECT_EQ(driver.cuGraphLaunch(exec, call.stream), kSuccess);
  EXPECT_EQ(driver.cuStreamSynchronize(call.stream), kIllegalAddress);
  EXPECT_EQ(driver.cuGraphExecDestroy(exec), kSuccess);
}

TEST_F(EmulatedCublasLt, ACaptureThatIsInvalid) {
  const Driver& driver = device_->driver();
  ASSERT_EQ(driver.cuStreamBeginCapture_v2(call_.stream, kCaptureThreadLocal), kSuccess);
  EXPECT_EQ(driver.cuStreamSynchronize(call_.stream), kCaptureUnsupported);
  EXPECT_EQ(make(call_), kLtExecutionFailed);
  Graph graph = nullptr;
  EXPECT_EQ(driver.cuStreamEndCapture(call_.stream, &graph), kCaptureInvalidated);
}

}  // namespace
}  // namespace ferry::cuda
