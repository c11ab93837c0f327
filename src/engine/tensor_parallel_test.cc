// Tensor parallelism on the host: shards of every architecture against the whole model, the shared
// goldens, answers of an engine, and what can't be shared out.
#include <gmock/gmock.h>

#include "engine/demo_engine.h"
#include "engine/testing.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Sums over ranks are in another order than over columns.
constexpr float kMostApart = 1e-3f;

std::vector<TinyModel> models_in_shards() {
  std::vector<TinyModel> models;
  for (const TinyModel& tiny : tiny_models()) {
    if (std::string_view(tiny.name) != "deepseek_v4") models.push_back(tiny);
  }
  return models;
}

std::string write_tiny(const disk::testing::TempDir& dir, const TinyModel& tiny, bool fp8 = false) {
  const Json config = parse(tiny.config);
  TinyWeights weights = random_weights(config, 7);
  return write_hf(dir, config, hf_tensors(weights, "BF16", fp8));
}

TinyModel tiny_named(std::string_view name) {
  for (const TinyModel& tiny : tiny_models()) {
    if (tiny.name == name) return tiny;
  }
  return {};
}

Error error_on(const std::string& path, int64_t size, const LoadOptions& options = {}) {
  const auto devices = open_ranks("reference", {}, size);
  CHECK(devices.ok());
  const auto shards = load_shards(open_source(path), *devices, options);
  EXPECT_FALSE(shards.ok());
  return shards.ok() ? Error{} : shards.error();
}

class TensorParallel : public ::testing::TestWithParam<TinyModel> {};

// Two and four ranks: four share two heads of keys and values between them.
TEST_P(TensorParallel, ShardsAgreeWithTheWhole) {
  for (const bool fp8 : {false, true}) {
    const disk::testing::TempDir dir;
    const std::string path = write_tiny(dir, GetParam(), fp8);
    const LoadedModel whole = load(path, backend_named("reference"));
    const std::vector<int32_t> tokens = random_tokens(37, whole.spec().vocab_size, 3);
    for (const auto& [backend, size] :
         {std::pair("reference", 2), std::pair("reference", 4), std::pair("cpu", 2)}) {
      const std::vector<LoadedModel> shards = load_on_ranks(path, backend, size);
      for (const LogitsOptions& options :
           {LogitsOptions{}, LogitsOptions{.prefill = 20, .chunk = 7}}) {
        EXPECT_LE(
            max_difference(logits_of(shards, tokens, options), logits_of(whole, tokens, options)),
            kMostApart)
            << backend << " x " << size << (fp8 ? " fp8" : "");
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, TensorParallel, ::testing::ValuesIn(models_in_shards()),
                         [](const auto& test) { return std::string(test.param.name); });

// As on one rank: bits do not depend on chunks, threads, or who comes first to a sum.
TEST(TensorParallelBits, DoNotDependOnChunksOrThreads) {
  const disk::testing::TempDir dir;
  const std::string path = write_tiny(dir, tiny_named("deepseek_v3"));
  const std::vector<LoadedModel> shards = load_on_ranks(path, "cpu", 2);
  const std::vector<LoadedModel> threaded = load_on_ranks(path, "cpu", 2, 2);
  const std::vector<int32_t> tokens = random_tokens(41, 96, 5);
  const std::vector<float> expected = logits_of(shards, tokens);
  EXPECT_EQ(logits_of(shards, tokens, {.chunk = 7}), expected);
  EXPECT_EQ(logits_of(threaded, tokens, {.chunk = 1}), expected);
}

TEST(TensorParallelDemo, EngineAnswersAsOnOneDevice) {
  std::vector<Request> requests;
  for (const char* text : {"What is 12 + 30?", "Sort: 5, 3, 9", "What is 7 + 8?"}) {
    requests.push_back(greedy(question(text), 60));
  }
  for (const Speculation speculation : {Speculation::kOff, Speculation::kMtp}) {
    EngineOptions options = demo_options();
    options.speculation = speculation;
    options.f32_activations = true;
    const std::vector<Completion> expected = one_by_one(load_engine(options), requests);
    options.tensor_parallel_size = 2;
    const Engine engine = load_engine(options);
    const std::vector<Completion> answers = together(engine, requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_FALSE(answers[i].tokens.empty());
      EXPECT_EQ(answers[i].tokens, expected[i].tokens) << i;
    }
  }
}

TEST(TensorParallelGoldens, LogitsOfTheSharedModels) {
  const std::string shared = disk::testing::shared_folder();
  if (shared.empty()) GTEST_SKIP() << "no shared reference files here";
  const std::tuple<const char*, const char*, const char*> goldens[] = {
      {"llama", "hf", "f32"},
      {"qwen2", "hf", "f32"},
      {"qwen2", "model-Q8_0.gguf", "Q8_0-dq"},
      {"qwen2", "model-Q4_0.gguf", "Q4_0-dq"},
      {"qwen3", "hf", "f32"},
      {"qwen3moe", "hf", "f32"},
      {"qwen3moe", "model-f32.gguf", "f32"},
      {"deepseek-v2-lite", "hf", "f32"},
      {"deepseek-v2-lite", "model-f32.gguf", "f32"},
      {"deepseek-v3", "hf", "f32"},
      {"deepseek-v3", "hf-fp8", "hf-fp8"},
      {"deepseek-v3", "model-f32.gguf", "f32"},
      {"deepseek-v3.2", "hf", "f32"},
  };
  for (const auto& [model, file, logits] : goldens) {
    const std::string folder = fmt::format("{}/goldens/{}/", shared, model);
    const std::vector<LoadedModel> shards = load_on_ranks(folder + file, "cpu", 2);
    const auto tokens =
        parse(disk::testing::read_bytes(folder + "tokens-40.json")).get<std::vector<int32_t>>();
    const std::vector<float> expected =
        read_floats(fmt::format("{}logits-{}-40-prefill.f32", folder, logits));
    ASSERT_FALSE(expected.empty()) << folder << logits;
    EXPECT_LE(max_difference(logits_of(shards, tokens), expected), kMostApart) << model << file;
    EXPECT_LE(max_difference(logits_of(shards, tokens, {.prefill = 20}), expected), kMostApart)
        << model << file << " step";
  }
}

TEST(TensorParallelRefusals, SizesThatDoNotDivide) {
  const disk::testing::TempDir dir;
  const std::string path = write_tiny(dir, tiny_named("qwen2"));
  EXPECT_THAT(error_on(path, 3).message,
              AllOf(HasSubstr("config.json"),
                    HasSubstr("tensor parallel size 3: num_attention_heads is 4, which it does not "
                              "divide; sizes for this model: 1, 2, 4")));
  EXPECT_THAT(error_on(path, 8).message, HasSubstr("num_attention_heads is 4"));
}

TEST(TensorParallelRefusals, DeepSeekV4AndExpertsInTheFile) {
  const disk::testing::TempDir dir, other;
  EXPECT_THAT(error_on(write_tiny(dir, tiny_named("deepseek_v4")), 2).message,
              HasSubstr("tensor parallel size 2: deepseek_v4 is computed on one device only"));
  EXPECT_THAT(
      error_on(write_tiny(other, tiny_named("deepseek_v3")), 2, {.expert_memory = 1 << 20}).message,
      HasSubstr("experts that stay in the file are read for one device only"));
}

// A block of 256 columns can't be cut in two.
TEST(TensorParallelRefusals, BlocksThatWouldBeCut) {
  Json config = parse(tiny_named("qwen2").config);
  config["hidden_size"] = config["intermediate_size"] = 256;
  TinyWeights tiny = random_weights(config, 7);
  std::vector<StoredTensor> tensors;
  for (const weights::TensorRecord& record : tiny.records) {
    const bool blocks =
        record.role == weights::TensorRole::kLinear && record.shape.back() % 256 == 0;
    tensors.push_back(store(gguf_name("qwen2", record.name), blocks ? "Q4_K" : "F32", record.shape,
                            tiny.values[record.name]));
  }
  const disk::testing::TempDir dir;
  EXPECT_THAT(
      error_on(write_gguf(dir, "model.gguf", config, tensors), 2).message,
      AllOf(HasSubstr("blk.0.ffn_down.weight"),
            HasSubstr("Q4_K has blocks of 256 columns, and each of 2 ranks would have 128 of 256"),
            HasSubstr("tensor parallel sizes that cut between blocks: 1")));
}

}  // namespace
}  // namespace ferry::engine
