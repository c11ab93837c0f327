// Models on the emulated device: every architecture with random weights, the built-in model's
// answers, and the shared reference models where they are.
#include "vendor/ascend/cann.h"
#include "vendor/common/models_on_chip.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

class AscendModels : public ::testing::TestWithParam<TinyModel> {};

TEST_P(AscendModels, LogitsAreThoseOfTheReference) {
  ascend::use_release("current");
  for (const bool fp8 : {false, true}) expect_logits_of_reference(GetParam(), "ascend", fp8);
}

INSTANTIATE_TEST_SUITE_P(Architectures, AscendModels, ::testing::ValuesIn(tiny_models()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(AscendDemo, AnswersAreThoseOfTheReference) {
  ascend::use_release("current");
  std::vector<Request> requests;
  for (const char* text : {"What is 12 + 30?", "Sort: 5, 3, 9", "What is 7 + 8?"}) {
    requests.push_back(greedy(question(text), 60));
  }
  expect_answers_of_reference("ascend", requests);
}

TEST(AscendTensorParallel, ShardsAgree) {
  ascend::use_release("current");
  for (const TinyModel& tiny : tiny_models()) {
    const std::string_view name = tiny.name;
    if (name == "qwen2" || name == "qwen3_moe" || name == "deepseek_v3") {
      expect_shards_agree(tiny, "ascend");
    }
  }
}

TEST(AscendTensorParallel, TwoDevicesAnswerAsOne) {
  ascend::use_release("current");
  expect_answers_of_two_devices("ascend", {greedy(question("What is 12 + 30?"), 40)});
}

TEST(AscendFp8, IsInt8) {
  ascend::use_release("current");
  expect_fp8_in_int8("ascend");
}

TEST(AscendGoldens, LogitsOfTheSharedModels) {
  if (disk::testing::shared_folder().empty()) GTEST_SKIP() << "no shared reference files here";
  ascend::use_release("current");
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
  expect_golden_logits("ascend", goldens, {7, 40});
}

}  // namespace
}  // namespace ferry::engine
