// The conformance suite on the emulated device: the kernels that a GPU would run, compiled for the
// host and run with every address checked. It shows that they compute what the reference does; not
// that a GPU does.
#include "device/conformance/conformance.h"

#include <algorithm>

#include "vendor/cuda/emulated_driver.h"

namespace ferry::cuda {
namespace {

using Filters = std::vector<std::string>;

// Parts of names of cases; one test each, so that they run side by side.
const Filters kProducts = {"matmul"};
const Filters kExperts = {"moe_"};
const Filters kAttention = {"attention"};
const Filters kOthers = {"embed", "norm",   "rope ",    "kv_write", "index_", "swiglu",    "add ",
                         "copy",  "gather", "compress", "entry_",   "hyper",  "top_logits"};

void expect_agreement(const BackendOptions& options, const Filters& filters) {
  const auto subject = open_on_driver(options);
  ASSERT_NE(subject, nullptr);
  const auto reference = open_backend("reference", {}).value();
  int passed = 0;
  for (const std::string& filter : filters) {
    for (const ConformanceResult& result :
         run_conformance(*subject, *reference, {.filter = filter})) {
      passed += result.passed;
      EXPECT_TRUE(result.passed) << result.name << ": error " << result.error << " of "
                                 << result.tolerance << "; " << result.detail;
    }
  }
  EXPECT_GT(passed, 0);
  ::testing::Test::RecordProperty("passed", passed);
}

TEST(CudaConformance, OfProducts) {
  use_driver("current");
  expect_agreement({}, kProducts);
}

TEST(CudaConformance, OfProductsByCublasLt) {
  use_driver("current");
  use_cublaslt("current");
  expect_agreement({}, kProducts);
  expect_agreement({.f32_activations = true}, {"matmul F32"});
  EXPECT_GT(cublaslt_count("products"), 0);
}

TEST(CudaConformance, OfExperts) {
  use_driver("current");
  expect_agreement({}, kExperts);
}

TEST(CudaConformance, OfAttention) {
  use_driver("current");
  expect_agreement({}, kAttention);
}

TEST(CudaConformance, OfTheOtherOps) {
  use_driver("current");
  expect_agreement({}, kOthers);
}

TEST(CudaConformance, LeavesNoCaseOut) {
  for (const ConformanceCase& one : conformance_cases()) {
    bool run = false;
    for (const Filters* filters : {&kProducts, &kExperts, &kAttention, &kOthers}) {
      run = run || std::any_of(filters->begin(), filters->end(), [&](const std::string& filter) {
              return one.name.find(filter) != std::string::npos;
            });
    }
    EXPECT_TRUE(run) << one.name;
  }
}

// None on tensor cores, and formats that no kernel reads are f32 on the device and not bf16.
TEST(CudaConformance, OfProductsInF32) {
  use_driver("current");
  expect_agreement({.f32_activations = true}, {"matmul", "embed IQ2_S"});
}

TEST(CudaConformance, OfAttentionInF32) {
  use_driver("current");
  expect_agreement({.f32_activations = true}, {"gqa_attention", "mla_decode_attention"});
}

}  // namespace
}  // namespace ferry::cuda
