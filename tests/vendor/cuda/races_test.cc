// Every kernel with each of its accesses watched: no race, no read of shared memory that nobody
// wrote, no address outside of what was allocated. And that such mistakes are found.
#include "device/conformance/conformance.h"

#include "backends/cuda/device.h"
#include "vendor/cuda/emulated_driver.h"
#include "vendor/cuda/racing_kernels.h"

extern "C" const char ferry_cuda_image[];

namespace ferry::cuda {
namespace {

// What a kernel of two blocks ends with that makes this mistake.
int status_of(Mistake mistake) {
  const auto device = Device::open(0).value();
  const Driver& driver = device->driver();
  Module module = nullptr;
  Function function = nullptr;
  EXPECT_EQ(driver.cuModuleLoadData(&module, ferry_cuda_image), kSuccess);
  EXPECT_EQ(driver.cuModuleGetFunction(&function, module, "ferry_racing"), kSuccess);
  DeviceAddress out = 0;
  EXPECT_EQ(driver.cuMemAlloc_v2(&out, 2 * kRacingThreads * sizeof(int32_t)), kSuccess);
  RacingParams params = {reinterpret_cast<int32_t*>(static_cast<uintptr_t>(out)),
                         2 * kRacingThreads, mistake};
  void* pointers[] = {&params};
  DriverStream stream = nullptr;
  EXPECT_EQ(driver.cuStreamCreate(&stream, kNonBlocking), kSuccess);
  EXPECT_EQ(
      driver.cuLaunchKernel(function, 2, 1, 1, kRacingThreads, 1, 1, 0, stream, pointers, nullptr),
      kSuccess);
  const int status = driver.cuStreamSynchronize(stream);
  driver.cuStreamDestroy_v2(stream);
  driver.cuMemFree_v2(out);
  driver.cuModuleUnload(module);
  return status;
}

TEST(CudaRaces, AreFound) {
  use_driver("watched");
  EXPECT_EQ(status_of(kNoMistake), kSuccess);
  EXPECT_EQ(status_of(kNoBarrierBeforeRead), kLaunchFailed);
  EXPECT_EQ(status_of(kNoBarrierBeforeWrite), kLaunchFailed);
  EXPECT_EQ(status_of(kShuffleAsBarrier), kLaunchFailed);
  EXPECT_EQ(status_of(kUnwritten), kLaunchFailed);
  EXPECT_EQ(status_of(kBlocksShareAnOutput), kLaunchFailed);
}

TEST(CudaRaces, AddressesBehindWhatWasAskedForAreFound) {
  use_driver("watched");
  EXPECT_EQ(status_of(kBehindTheSpan), kIllegalAddress);
}

void expect_no_fault(std::initializer_list<const char*> filters, bool cublaslt = false) {
  use_driver("watched");
  if (cublaslt) use_cublaslt("current");
  const auto subject = open_on_driver();
  ASSERT_NE(subject, nullptr);
  const auto reference = open_backend("reference", {}).value();
  for (const char* filter : filters) {
    const auto results = run_conformance(*subject, *reference, {.filter = filter});
    EXPECT_FALSE(results.empty()) << filter;
    for (const ConformanceResult& result : results) {
      EXPECT_TRUE(result.passed) << result.name << ": " << result.detail;
    }
  }
}

TEST(CudaRaces, NoneInProducts) { expect_no_fault({"matmul Q4_K", "matmul BF16", "matmul F32"}); }
TEST(CudaRaces, NoneInWhatIsMadeForCublasLt) {
  expect_no_fault({"matmul BF16 T=150", "matmul F16 T=150"}, true);
  EXPECT_GT(cublaslt_count("products"), 0);
}
TEST(CudaRaces, NoneInExperts) {
  expect_no_fault({"moe_gate", "moe_permute", "moe_combine", "moe_experts Q4_0"});
}
TEST(CudaRaces, NoneInAttention) {
  expect_no_fault({"gqa_attention i8", "mla_decode_attention bf16", "mla_prefill_attention bf16 F8",
                   "mla_sparse_attention i8", "window_attention bf16"});
}
TEST(CudaRaces, NoneInLongPrompts) {
  expect_no_fault({"d=192 tiles of prompts", "d=64 tiles of prompts",
                   "mla_prefill_attention bf16 F8_E4M3 block-scaled H=3 nope=24 rope=12",
                   "mla_prefill_attention f32 BF16 separate", "rank=160 chunk behind 4060 keys"});
}
TEST(CudaRaces, NoneInTheOtherOps) {
  expect_no_fault({"embed Q", "norm", "rope ", "kv_write", "index_", "swiglu", "add ", "copy",
                   "gather", "compress", "entry_", "hyper", "top_logits R=3 V=32003",
                   "top_logits R=17 V=1000"});
}

}  // namespace
}  // namespace ferry::cuda
