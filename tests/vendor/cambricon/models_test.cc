// Models on the emulated device: every architecture with random weights, the built-in model's
// answers, and the shared reference models where they are.
#include "vendor/cambricon/neuware.h"
#include "vendor/common/models_on_chip.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

class CambriconModels : public ::testing::TestWithParam<TinyModel> {};

TEST_P(CambriconModels, LogitsAreThoseOfTheReference) {
  cambricon::use_release("current");
  for (const bool fp8 : {false, true}) expect_logits_of_reference(GetParam(), "cambricon", fp8);
}

INSTANTIATE_TEST_SUITE_P(Architectures, CambriconModels, ::testing::ValuesIn(tiny_models()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(CambriconDemo, AnswersAreThoseOfTheReference) {
  cambricon::use_release("current");
  std::vector<Request> requests;
  for (const char* text : {"What is 12 + 30?", "Sort: 5, 3, 9", "What is 7 + 8?"}) {
    requests.push_back(greedy(question(text), 60));
  }
  expect_answers_of_reference("cambricon", requests);
}

TEST(CambriconTensorParallel, ShardsAgree) {
  cambricon::use_release("current");
  for (const TinyModel& tiny : tiny_models()) {
    const std::string_view name = tiny.name;
    if (name == "qwen2" || name == "qwen3_moe" || name == "deepseek_v3") {
      expect_shards_agree(tiny, "cambricon");
    }
  }
}

TEST(CambriconTensorParallel, TwoDevicesAnswerAsOne) {
  cambricon::use_release("current");
  expect_answers_of_two_devices("cambricon", {greedy(question("What is 12 + 30?"), 40)});
}

TEST(CambriconFp8, IsInt8) {
  cambricon::use_release("current");
  expect_fp8_in_int8("cambricon");
}

TEST(CambriconGoldens, LogitsOfTheSharedModels) {
  if (disk::testing::shared_folder().empty()) GTEST_SKIP() << "no shared reference files here";
  cambricon::use_release("current");
  const Golden goldens[] = {
      {"llama/hf", "f32"},
      {"llama/model-Q4_K_M.gguf", "Q4_K_M-dq"},
      {"qwen2/hf", "f32"},
      {"qwen3/hf", "f32"},
      {"qwen3moe/hf", "f32"},
      {"deepseek-v2-lite/model-Q4_K_M.gguf", "Q4_K_M-dq"},
      {"deepseek-v3/hf-fp8", "hf-fp8"},
      {"deepseek-v3.2/hf", "f32"},
  };
  expect_golden_logits("cambricon", goldens, {7, 40});
}

}  // namespace
}  // namespace ferry::engine
