// Models on the emulated device: every architecture with random weights, and some of the shared
// reference models where they are.
#include "engine/demo_engine.h"
#include "engine/testing.h"
#include "vendor/cuda/emulated_driver.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

// Sums in f32 in another order: what the cpu backend differs by is of the same size.
constexpr float kMostDifference = 1e-3f;

class CudaModels : public ::testing::TestWithParam<TinyModel> {};

TEST_P(CudaModels, LogitsAreThoseOfTheReference) {
  cuda::use_driver("current");
  const Json config = parse(GetParam().config);
  const disk::testing::TempDir dir;
  TinyWeights weights = random_weights(config, 7);
  const std::string path = write_hf(dir, config, hf_tensors(weights, "BF16", true));
  const LoadedModel reference = load(path, backend_named("reference"));
  const LoadedModel emulated = load(path, backend_named("cuda", 1, true));
  const std::vector<int32_t> tokens = random_tokens(37, reference.spec().vocab_size, 3);
  for (const LogitsOptions& options : {LogitsOptions{}, LogitsOptions{.prefill = 20, .chunk = 7}}) {
    EXPECT_LE(
        max_difference(logits_of(emulated, tokens, options), logits_of(reference, tokens, options)),
        kMostDifference)
        << GetParam().name;
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, CudaModels, ::testing::ValuesIn(tiny_models()),
                         [](const auto& test) { return std::string(test.param.name); });

// The built-in model's answer, token by token as the reference gives it.
TEST(CudaDemo, AnswersAreThoseOfTheReference) {
  cuda::use_driver("current");
  const std::vector<Request> requests = {greedy(question("What is 7 + 8?"), 12)};
  EngineOptions options = demo_options();
  options.backend = "reference";
  options.kv_dtype = KvDtype::kBF16;
  const std::vector<Completion> expected = together(load_engine(options), requests);
  options.backend = "cuda";
  const std::vector<Completion> answers = together(load_engine(options), requests);
  EXPECT_FALSE(expected[0].tokens.empty());
  EXPECT_EQ(answers[0].tokens, expected[0].tokens);
}

TEST(CudaGoldens, LogitsOfTheSharedModels) {
  const std::string shared = disk::testing::shared_folder();
  if (shared.empty()) GTEST_SKIP() << "no shared reference files here";
  cuda::use_driver("current");
  const auto backend = backend_named("cuda", 1, true);
  const std::pair<const char*, const char*> variants[] = {
      {"llama/model-Q4_K_M.gguf", "Q4_K_M-dq"},
      {"qwen3moe/hf", "f32"},
      {"deepseek-v2-lite/model-Q4_K_M.gguf", "Q4_K_M-dq"},
      {"deepseek-v3/hf-fp8", "hf-fp8"},
  };
  for (const auto& [file, logits] : variants) {
    const std::string path = shared + "/goldens/" + file;
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    const std::string bytes =
        disk::testing::read_bytes(fmt::format("{}logits-{}-40-prefill.f32", folder, logits));
    std::vector<float> expected(bytes.size() / sizeof(float));
    std::memcpy(expected.data(), bytes.data(), expected.size() * sizeof(float));
    const auto tokens =
        parse(disk::testing::read_bytes(folder + "tokens-40.json")).get<std::vector<int32_t>>();
    EXPECT_LE(max_difference(logits_of(load(path, backend), tokens), expected), kMostDifference)
        << file;
  }
}

}  // namespace
}  // namespace ferry::engine
