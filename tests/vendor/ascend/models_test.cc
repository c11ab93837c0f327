// Models on the emulated device: every architecture with random weights, the built-in model's
// answers, and the shared reference models where they are.
#include "engine/demo_engine.h"
#include "engine/testing.h"
#include "vendor/ascend/cann.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

// Weights in f32. Sums in f32 in another order: what the cpu backend differs by is of the same
// size.
constexpr float kLimit = 1e-3f;

class AscendModels : public ::testing::TestWithParam<TinyModel> {};

TEST_P(AscendModels, LogitsAreThoseOfTheReference) {
  ascend::use_release("current");
  const Json config = parse(GetParam().config);
  for (const bool fp8 : {false, true}) {
    const disk::testing::TempDir dir;
    TinyWeights weights = random_weights(config, 7);
    const std::string path = write_hf(dir, config, hf_tensors(weights, "BF16", fp8));
    const LoadedModel reference = load(path, backend_named("reference"));
    const LoadedModel emulated = load(path, backend_named("ascend", 1, true));
    const std::vector<int32_t> tokens = random_tokens(37, reference.spec().vocab_size, 3);
    for (const LogitsOptions& options :
         {LogitsOptions{}, LogitsOptions{.prefill = 20, .chunk = 7}}) {
      EXPECT_LE(max_difference(logits_of(emulated, tokens, options),
                               logits_of(reference, tokens, options)),
                kLimit)
          << GetParam().name << (fp8 ? " fp8" : "");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, AscendModels, ::testing::ValuesIn(tiny_models()),
                         [](const auto& test) { return std::string(test.param.name); });

// The same tokens with weights as they are used by default, in bf16, and a cache of 16 bits; some
// together, so that steps are mixed.
TEST(AscendDemo, AnswersAreThoseOfTheReference) {
  ascend::use_release("current");
  std::vector<Request> requests;
  for (const char* text : {"What is 12 + 30?", "Sort: 5, 3, 9", "What is 7 + 8?"}) {
    requests.push_back(greedy(question(text), 60));
  }
  EngineOptions options = demo_options();
  options.backend = "reference";
  options.kv_dtype = KvDtype::kBF16;
  const std::vector<Completion> expected = together(load_engine(options), requests);
  options.backend = "ascend";
  const Engine engine = load_engine(options);
  const std::vector<Completion> answers = together(engine, requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_FALSE(expected[i].tokens.empty());
    EXPECT_EQ(answers[i].tokens, expected[i].tokens) << i;
  }
}

TEST(AscendGoldens, LogitsOfTheSharedModels) {
  const std::string shared = disk::testing::shared_folder();
  if (shared.empty()) GTEST_SKIP() << "no shared reference files here";
  ascend::use_release("current");
  const auto backend = backend_named("ascend", 1, true);
  const std::pair<const char*, const char*> variants[] = {
      {"llama/hf", "f32"},
      {"llama/model-Q4_K_M.gguf", "Q4_K_M-dq"},
      {"qwen2/hf", "f32"},
      {"qwen3/hf", "f32"},
      {"qwen3moe/hf", "f32"},
      {"deepseek-v2-lite/model-Q4_K_M.gguf", "Q4_K_M-dq"},
      {"deepseek-v3/hf-fp8", "hf-fp8"},
      {"deepseek-v3.2/hf", "f32"},
  };
  for (const auto& [file, logits] : variants) {
    const std::string path = shared + "/goldens/" + file;
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    const LoadedModel model = load(path, backend);
    int compared = 0;
    for (const int n : {7, 40}) {
      const std::vector<float> expected =
          read_floats(fmt::format("{}logits-{}-{}-prefill.f32", folder, logits, n));
      if (expected.empty()) continue;
      ++compared;
      const auto tokens =
          parse(disk::testing::read_bytes(fmt::format("{}tokens-{}.json", folder, n)))
              .get<std::vector<int32_t>>();
      EXPECT_LE(max_difference(logits_of(model, tokens), expected), kLimit) << file << " " << n;
      EXPECT_LE(max_difference(logits_of(model, tokens, {.chunk = 13}), expected), kLimit)
          << file << " " << n;
    }
    EXPECT_GT(compared, 0) << file;
  }
}

}  // namespace
}  // namespace ferry::engine
