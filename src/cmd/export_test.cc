// GGUF with prediction modules: a checkpoint that `ferry synth --from --mtp` has written as GGUF
// gives the same answers as the folder that it came from, and the same guesses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "cmd/testing.h"
#include "engine/demo_engine.h"
#include "engine/testing.h"

namespace ferry::cmd {
namespace {

using ::testing::HasSubstr;

// Of the few tokens that engine::testing::keep_choices() leaves.
Request request_of_few_tokens() {
  Request request;
  request.prompt = engine::testing::random_tokens(21, 1000, 3);
  request.sampling.temperature = 0;
  request.sampling.logprobs = 2;
  for (int32_t id = engine::testing::kFirstChoice; id <= engine::testing::kLastChoice; ++id) {
    request.sampling.logit_bias.push_back({id, 100.0f});
  }
  request.stop = {.strings = {}, .token_ids = {}, .ignore_eos = true, .max_tokens = 90};
  return request;
}

Completion answer_of(const std::string& model) {
  EngineOptions options = engine::demo_options();
  options.model = model;
  options.speculation = Speculation::kMtp;
  return engine::complete(engine::load_engine(options), request_of_few_tokens());
}

// The same tokens; logits up to the order of sums, which kv_b in two halves changes.
void expect_alike(const Completion& a, const Completion& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  ASSERT_EQ(a.logprobs.size(), b.logprobs.size());
  for (size_t i = 0; i < a.logprobs.size(); ++i) {
    EXPECT_NEAR(a.logprobs[i].chosen.logprob, b.logprobs[i].chosen.logprob, 1e-4) << i;
  }
}

class GgufExport : public ::testing::TestWithParam<const char*> {
 protected:
  // A folder of the model with its module, all in F32.
  void SetUp() override {
    for (const engine::testing::TinyModel& tiny : engine::testing::tiny_models()) {
      if (std::string_view(tiny.name) != GetParam()) continue;
      Json config = engine::testing::parse(tiny.config);
      config["vocab_size"] = 1024;
      engine::testing::TinyWeights weights = engine::testing::random_weights(config, 11);
      engine::testing::keep_choices(weights);
      engine::testing::write_hf(folder_, config, engine::testing::hf_tensors(weights, "F32"));
      for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
        std::filesystem::copy_file(std::filesystem::path(FERRY_SOURCE_DIR "/demo") / name,
                                   folder_.file(name));
      }
    }
  }
  std::string write(const std::string& quant, const std::string& more) {
    const std::string path = out_.file(quant + ".gguf");
    const testing::Printed printed = testing::run_ferry(
        "synth --from " + folder_.path() + " --quant " + quant + " --force --out " + path + more);
    EXPECT_FALSE(printed.failed) << printed.text;
    return path;
  }

  disk::testing::TempDir folder_, out_;
};

TEST_P(GgufExport, KeepsAnswersAndGuesses) {
  const Completion expected = answer_of(folder_.path());
  EXPECT_GT(expected.finish.accepted_tokens, 5);
  const Completion found = answer_of(write("F32", " --mtp"));
  expect_alike(expected, found);
  EXPECT_EQ(found.finish.draft_tokens, expected.finish.draft_tokens);
  EXPECT_EQ(found.finish.accepted_tokens, expected.finish.accepted_tokens);
  EXPECT_GT(answer_of(write("Q8_0", " --mtp")).finish.draft_tokens, 0);
}

TEST_P(GgufExport, LeavesTheModuleOutUnlessAsked) {
  const std::string path = write("F32", "");
  EngineOptions options = engine::demo_options();
  options.model = path;
  Request request = request_of_few_tokens();
  const Completion plain = engine::complete(engine::load_engine(options), request);
  expect_alike(answer_of(folder_.path()), plain);
  options.speculation = Speculation::kMtp;
  EXPECT_THAT(Engine::load(options).error().message, HasSubstr("has no prediction module (MTP)"));
}

INSTANTIATE_TEST_SUITE_P(Models, GgufExport,
                         ::testing::Values("deepseek_v3", "deepseek_v32", "deepseek_v4"),
                         [](const auto& model) { return std::string(model.param); });

}  // namespace
}  // namespace ferry::cmd
