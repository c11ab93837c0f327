// Models on the emulated device: every architecture with random weights, the built-in model's
// answer, and some of the shared reference models where they are.
#include "engine/top_logits_testing.h"
#include "vendor/common/models_on_chip.h"
#include "vendor/cuda/emulated_driver.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

class CudaModels : public ::testing::TestWithParam<TinyModel> {};

TEST_P(CudaModels, LogitsAreThoseOfTheReference) {
  cuda::use_driver("current");
  expect_logits_of_reference(GetParam(), "cuda", true);
}

INSTANTIATE_TEST_SUITE_P(Architectures, CudaModels, ::testing::ValuesIn(tiny_models()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(CudaDemo, AnswersAreThoseOfTheReference) {
  cuda::use_driver("current");
  expect_answers_of_reference("cuda", {greedy(question("What is 7 + 8?"), 12)});
  EXPECT_GT(cuda::graph_launches(), 0);
}

TEST(CudaDemo, TheLargestLogitsChooseWhatWholeRowsDo) {
  cuda::use_driver("current");
  expect_top_logits_do(backend_named("cuda", 1, true), 5);
}

TEST(CudaTensorParallel, ShardsAgree) {
  cuda::use_driver("current");
  setenv("FERRY_NCCL", FERRY_EMULATED_CUDA "-current", 1);
  for (const TinyModel& tiny : tiny_models()) {
    const std::string_view name = tiny.name;
    if (name == "qwen2" || name == "deepseek_v3") expect_shards_agree(tiny, "cuda");
  }
}

TEST(CudaGoldens, LogitsOfTheSharedModels) {
  if (disk::testing::shared_folder().empty()) GTEST_SKIP() << "no shared reference files here";
  cuda::use_driver("current");
  const Golden goldens[] = {
      {"llama/model-Q4_K_M.gguf", "Q4_K_M-dq"},
      {"qwen3moe/hf", "f32"},
      {"deepseek-v2-lite/model-Q4_K_M.gguf", "Q4_K_M-dq"},
      {"deepseek-v3/hf-fp8", "hf-fp8"},
  };
  expect_golden_logits("cuda", goldens, {40});
}

}  // namespace
}  // namespace ferry::engine
