// Experts that are read when they are needed: the same bits with any memory for them, and errors
// that say where.
#include "engine/expert_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/demo_engine.h"
#include "engine/testing.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

constexpr int64_t kDemoMatrix = 256 * 128 * 2;
constexpr int64_t kDemoExperts = 5 * 8 * 3 * kDemoMatrix;  // four layers and the module's
constexpr int64_t kLeast = 2 * (kDemoMatrix + 8192);

std::vector<Request> some_requests() {
  std::vector<Request> requests;
  for (int i = 0; i < 6; ++i) {
    Request request = greedy(question("How many r are in strawberry number " + std::to_string(i)),
                             i == 0 ? 40 : 9);
    request.sampling.logprobs = 3;
    request.stop.ignore_eos = true;
    requests.push_back(std::move(request));
  }
  return requests;
}

TEST(ExpertMemory, EveryAmountGivesTheSameBits) {
  const std::vector<Request> requests = some_requests();
  const Engine whole = load_engine(demo_options());
  const std::vector<Completion> expected = one_by_one(whole, requests);
  EXPECT_EQ(whole.info().memory.expert_bytes, 0);
  EXPECT_EQ(whole.stats().expert_misses_total, 0);
  for (const int64_t bytes : {kLeast, 5 * kDemoMatrix, kDemoExperts / 3, 2 * kDemoExperts}) {
    for (const bool side_by_side : {false, true}) {
      EngineOptions options = demo_options();
      options.expert_memory = bytes;
      options.threads = side_by_side ? 2 : 1;
      if (side_by_side) options.speculation = Speculation::kMtp;
      const Engine engine = load_engine(options);
      EXPECT_EQ(engine.info().memory.expert_bytes, bytes);
      const auto completions =
          side_by_side ? together(engine, requests) : one_by_one(engine, requests);
      for (size_t i = 0; i < requests.size(); ++i) expect_same_bits(expected[i], completions[i], i);
      const EngineStats stats = engine.stats();
      EXPECT_GT(stats.expert_misses_total, 0);
      EXPECT_GE(stats.expert_guesses_total, stats.expert_guesses_right_total);
      // With room for all, every matrix is read once at most.
      const int64_t reads = stats.expert_misses_total + stats.expert_guesses_total;
      EXPECT_EQ(reads <= 2 * 5 * 8 * 3, bytes > kDemoExperts) << bytes;
      EXPECT_EQ(stats.expert_hits_total > 10 * stats.expert_misses_total, bytes > kDemoExperts);
    }
  }
}

TEST(ExpertMemory, AModelInTheProgramItselfToo) {
  const auto read = [](const char* name) {
    std::ostringstream text;
    text << std::ifstream(std::string(FERRY_SOURCE_DIR "/demo/") + name).rdbuf();
    return text.str();
  };
  std::vector<std::pair<std::string, std::string>> files;
  for (const auto& entry : std::filesystem::directory_iterator(FERRY_SOURCE_DIR "/demo")) {
    if (!entry.is_regular_file()) continue;
    files.emplace_back(entry.path().filename(), read(entry.path().filename().c_str()));
  }
  EngineOptions options = demo_options();
  const Request request = some_requests()[0];
  const Completion expected = complete(load_engine(options), request);
  for (const auto& [name, contents] : files) options.model_files.push_back({name, contents});
  options.expert_memory = kLeast;
  expect_same_bits(expected, complete(load_engine(options), request), 0);
}

class ExpertMemoryOf : public ::testing::TestWithParam<TinyModel> {};

// Experts in bf16 and in FP8 with their scales, through the fused op and through the parts of it.
TEST_P(ExpertMemoryOf, GivesTheSameLogits) {
  const Json config = parse(GetParam().config);
  for (const bool fp8 : {false, true}) {
    const disk::testing::TempDir dir;
    TinyWeights weights = random_weights(config, 5);
    const std::string path = write_hf(dir, config, hf_tensors(weights, "BF16", fp8));
    const std::shared_ptr<Backend> backend = backend_named("cpu", 2);
    const LoadedModel whole = load(path, backend);
    if (whole.expert_bytes == 0) return;  // a dense one
    auto part = load_model(open_source(path), backend,
                           {.expert_memory = 2 * (whole.largest_expert_bytes + 8192)});
    ASSERT_TRUE(part.ok()) << part.error().message;
    const std::vector<int32_t> tokens = random_tokens(50, whole.spec().vocab_size, 3);
    for (const LogitsOptions& options :
         {LogitsOptions{}, LogitsOptions{.prefill = 20, .chunk = 7}}) {
      const std::vector<float> expected = logits_of(whole, tokens, options);
      const std::vector<float> found = logits_of(*part, tokens, options);
      ASSERT_EQ(expected.size(), found.size());
      EXPECT_EQ(std::memcmp(expected.data(), found.data(), expected.size() * sizeof(float)), 0);
    }
    EXPECT_GT(backend->on_demand_stats().misses, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, ExpertMemoryOf, ::testing::ValuesIn(tiny_models()),
                         [](const auto& model) { return std::string(model.param.name); });

TEST(ExpertMemory, WhatCannotBeIsSaid) {
  const auto error_of = [](EngineOptions options) {
    const Result<Engine> engine = Engine::load(options);
    return engine.ok() ? std::string("none") : engine.error().message;
  };
  EngineOptions options = demo_options();
  options.expert_memory = kLeast - 1;
  EXPECT_NE(error_of(options).find("two matrices"), std::string::npos) << error_of(options);
  options.expert_memory = -1;
  EXPECT_NE(error_of(options).find("expert_memory: -1"), std::string::npos);
  options.expert_memory = kLeast;
  options.backend = "reference";
  EXPECT_NE(error_of(options).find("reference can't read experts"), std::string::npos);
}

// A folder with the built-in model, whose expert 3 of layer 2 lies at offset() of size().
class ExpertFile : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const auto& entry : std::filesystem::directory_iterator(FERRY_SOURCE_DIR "/demo")) {
      if (entry.is_regular_file()) {
        std::filesystem::copy_file(entry.path(), dir_.file(entry.path().filename().string()));
      }
    }
    const disk::ModelSource source = open_source(dir_.path());
    const disk::FileTensor* tensor =
        source.checkpoint.find("model.layers.2.mlp.experts.3.up_proj.weight");
    ASSERT_NE(tensor, nullptr);
    file_ = source.checkpoint.files()[static_cast<size_t>(tensor->file_index)]->path();
    offset_ = tensor->offset;
  }
  EngineOptions options() const {
    EngineOptions options = demo_options();
    options.model = dir_.path();
    options.expert_memory = kLeast;
    return options;
  }
  // Of enough answers to have asked every expert of layer 2.
  static std::string error_of(const Engine& engine) {
    for (const Request& request : some_requests()) {
      const Result<Completion> completion = engine.complete(request);
      if (!completion.ok()) return completion.error().message;
    }
    return "none";
  }

  disk::testing::TempDir dir_;
  std::string file_;
  int64_t offset_ = 0;
};

TEST_F(ExpertFile, AValueThatIsNotFiniteIsFoundWhenItIsRead) {
  {
    std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offset_ + 1000);
    const uint16_t nan = 0x7fc0;
    file.write(reinterpret_cast<const char*>(&nan), sizeof nan);
  }
  const std::string message = error_of(load_engine(options()));
  EXPECT_NE(message.find("model.layers.2.mlp.experts.3.up_proj.weight"), std::string::npos)
      << message;
  EXPECT_NE(message.find("at offset " + std::to_string(offset_ + 1000)), std::string::npos)
      << message;
}

// What is mapped stays where it is; of the experts behind it some can't be read any more.
TEST(ExpertMemory, AFileThatGetsShorterIsAnErrorAndNoCrash) {
  const Json config = parse(tiny_models()[7].config);
  TinyWeights weights = random_weights(config, 5);
  std::vector<StoredTensor> tensors = hf_tensors(weights);
  std::stable_partition(tensors.begin(), tensors.end(), [](const StoredTensor& tensor) {
    return tensor.decl.name.find(".experts.") == std::string::npos;
  });
  const disk::testing::TempDir dir;
  const std::string path = write_hf(dir, config, tensors);
  const disk::ModelSource source = open_source(path);
  auto model =
      load_model(source, backend_named("cpu"), {.expert_memory = 2 * (64 * 40 * 2 + 8192)});
  ASSERT_TRUE(model.ok()) << model.error().message;
  const std::vector<int32_t> tokens = random_tokens(50, model->spec().vocab_size, 3);
  const disk::FileTensor* first =
      source.checkpoint.find("model.layers.1.mlp.experts.1.gate_proj.weight");
  ASSERT_NE(first, nullptr);
  ASSERT_TRUE(compute_logits(*model, tokens, {}).ok());
  std::filesystem::resize_file(source.checkpoint.files()[0]->path(),
                               static_cast<uintmax_t>(first->offset + 1000));
  const auto logits = compute_logits(*model, tokens, {});
  ASSERT_FALSE(logits.ok());
  const std::string& message = logits.error().message;
  EXPECT_NE(message.find("the file has become shorter"), std::string::npos) << message;
  EXPECT_NE(message.find("model.layers."), std::string::npos) << message;
  EXPECT_NE(message.find("at offset "), std::string::npos) << message;
}

TEST(ShareMemory, LeavesAReserveAndTheOtherWeights) {
  constexpr int64_t kGiB = int64_t{1} << 30;
  const auto share = [](int64_t file, int64_t experts, int64_t wanted, int64_t free_bytes) {
    LoadedModel measured;
    measured.backend = backend_named("cpu");
    measured.expert_bytes = experts;
    measured.largest_expert_bytes = experts / 100;
    auto shared =
        share_memory(measured, file, wanted, {.total_bytes = 64 * kGiB, .free_bytes = free_bytes});
    CHECK(shared.ok());
    return *shared;
  };
  EXPECT_FALSE(share(40 * kGiB, 30 * kGiB, 0, 50 * kGiB).on_demand);
  EXPECT_FALSE(share(90 * kGiB, 0, 0, 50 * kGiB).on_demand);
  const ExpertMemory automatic = share(90 * kGiB, 80 * kGiB, 0, 50 * kGiB);
  EXPECT_TRUE(automatic.on_demand);
  EXPECT_EQ(automatic.left, (50 - 4 - 10) * kGiB);
  EXPECT_EQ(automatic.others.free_bytes, 18 * kGiB);
  EXPECT_EQ(automatic.bytes(6 * kGiB), 30 * kGiB);
  EXPECT_EQ(automatic.bytes(50 * kGiB), automatic.least);
  const ExpertMemory asked = share(40 * kGiB, 30 * kGiB, 5 * kGiB, 50 * kGiB);
  EXPECT_TRUE(asked.on_demand);
  EXPECT_EQ(asked.bytes(6 * kGiB), 5 * kGiB);
  EXPECT_EQ(asked.others.free_bytes, 45 * kGiB);
}

}  // namespace
}  // namespace ferry::engine
