// Models on the emulated device: every architecture with random weights, the built-in model's
// answer, and some of the shared reference models where they are.
#include <algorithm>

#include "engine/compare.h"
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

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

// Activations in bf16, as they are by default, and prompts long enough for tiles of 64 queries:
// each op by itself is within what the backend says that rounding costs, and the logits within as
// much for each of the blocks that add to them.
void expect_rounding_as_stated(const std::string& config_text, Op attention) {
  cuda::use_driver("current");
  const Json config = parse(config_text);
  const disk::testing::TempDir dir;
  TinyWeights weights = random_weights(config, 7);
  const std::string path = write_hf(dir, config, hf_tensors(weights));
  const LoadedModel reference = load(path, backend_named("reference"));
  const LoadedModel subject = load(path, backend_named("cuda"));
  const std::vector<int32_t> tokens =
      random_tokens(kMaxComparedTokens, reference.spec().vocab_size, 3);
  const LogitsOptions options{.kv_dtype = Dtype::kBF16};
  const Comparison comparison = compare_ops(reference, subject, tokens, options).value();
  EXPECT_LT(comparison.limit, 0.03);
  int rounded = 0;
  for (const OpDifference& op : comparison.ops) {
    EXPECT_FALSE(comparison.is_wrong(op))
        << op_name(op.op) << " layer " << op.layer << ": " << op.error;
    rounded += op.op == attention && op.error > 0x1p-12;
  }
  EXPECT_EQ(rounded, reference.spec().num_hidden_layers);
  const std::vector<float> expected = logits_of(reference, tokens, options);
  const std::vector<float> got = logits_of(subject, tokens, options);
  double difference = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (double{got[i]} - expected[i]) * (double{got[i]} - expected[i]);
    size += double{expected[i]} * expected[i];
  }
  const double blocks = 2.0 * static_cast<double>(reference.spec().num_hidden_layers) + 1;
  EXPECT_LE(std::sqrt(difference / size), blocks * comparison.limit);
}

TEST(CudaRounding, OfGroupedQueriesIsAsStated) {
  for (const TinyModel& tiny : tiny_models()) {
    if (tiny.name == std::string_view("qwen2")) {
      expect_rounding_as_stated(tiny.config, Op::kGqaAttention);
    }
  }
}

// Latents so long that to expand them is less work; no experts, which rounding would choose others
// of.
TEST(CudaRounding, OfExpandedLatentsIsAsStated) {
  for (const TinyModel& tiny : tiny_models()) {
    if (tiny.name != std::string_view("deepseek_v2_lite")) continue;
    const std::string longer =
        replaced(tiny.config, R"("kv_lora_rank": 32)", R"("kv_lora_rank": 128)");
    expect_rounding_as_stated(
        replaced(longer, R"("first_k_dense_replace": 1)", R"("first_k_dense_replace": 3)"),
        Op::kMlaPrefillAttention);
  }
}

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

// Long enough a prompt for cuBLASLt, whole and in two shards of tensor parallelism: as near to the
// reference as without it, give or take what rounds the other way after a sum in another order.
TEST(CudaModelsByCublasLt, LogitsAreAsNearAsThoseOfFerrysKernels) {
  const std::vector<TinyModel> all = tiny_models();
  const auto tiny_qwen = std::find_if(all.begin(), all.end(), [](const TinyModel& tiny) {
    return std::string_view(tiny.name) == "qwen2";
  });
  ASSERT_NE(tiny_qwen, all.end());
  const Json config = parse(tiny_qwen->config);
  const disk::testing::TempDir dir;
  TinyWeights weights = random_weights(config, 7);
  const std::string path = write_hf(dir, config, hf_tensors(weights, "BF16"));
  const std::vector<int32_t> tokens = random_tokens(150, config["vocab_size"].get<int>(), 3);
  const std::vector<float> expected = logits_of(load(path, backend_named("reference")), tokens);
  const auto error = [&] {
    return max_difference(logits_of(load(path, backend_named("cuda")), tokens), expected);
  };
  cuda::use_driver("current");
  setenv("FERRY_NCCL", FERRY_EMULATED_CUDA "-current", 1);
  setenv("FERRY_EMULATED_DEVICES", "2", 1);
  const float most = 2 * error();
  EXPECT_EQ(cuda::cublaslt_count("products"), 0);
  cuda::use_cublaslt("current");
  EXPECT_LE(error(), most);
  const int64_t products = cuda::cublaslt_count("products");
  EXPECT_GT(products, 0);
  const auto ranks = open_ranks("cuda", {.threads = 2}, 2);
  ASSERT_TRUE(ranks.ok()) << ranks.error().message;
  const std::vector<LoadedModel> shards = load_shards(open_source(path), *ranks, {}).value();
  EXPECT_LE(max_difference(logits_of(shards, tokens), expected), most);
  EXPECT_GT(cuda::cublaslt_count("products"), products);
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
