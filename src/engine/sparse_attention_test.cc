// Sparse attention (DeepSeek-V3.2): where everything is chosen the model is V3 bit for bit; where
// not, the choice counts; and checkpoints with a bad indexer are refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "engine/testing.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

constexpr int64_t kTokens = 90;

bool same_logits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && !a.empty() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

Json sparse_config(int64_t top_k) {
  for (const TinyModel& model : tiny_models()) {
    if (std::string_view(model.name) != "deepseek_v32") continue;
    Json config = parse(model.config);
    config["index_topk"] = top_k;
    return config;
  }
  return {};
}

Json dense_config() {
  Json config = sparse_config(1);
  config["model_type"] = "deepseek_v3";
  for (const char* key : {"index_topk", "index_n_heads", "index_head_dim"}) config.erase(key);
  return config;
}

// The weights of one sparse model, for either config.
std::string write(const disk::testing::TempDir& dir, const Json& config) {
  TinyWeights weights = random_weights(sparse_config(1), 17);
  if (config["model_type"] == "deepseek_v3") {
    std::erase_if(weights.records, [](const weights::TensorRecord& record) {
      return record.name.find(".indexer.") != std::string::npos;
    });
  }
  return write_hf(dir, config, hf_tensors(weights));
}

std::span<const float> rows(const std::vector<float>& logits, int64_t begin, int64_t end) {
  const size_t size = logits.size() / static_cast<size_t>(kTokens);
  return std::span(logits).subspan(static_cast<size_t>(begin) * size,
                                   static_cast<size_t>(end - begin) * size);
}

TEST(SparseAttention, IsDenseUpToTopK) {
  const std::vector<int32_t> tokens = random_tokens(kTokens, 96, 5);
  for (const char* backend : {"reference", "cpu"}) {
    disk::testing::TempDir dense_dir, all_dir, some_dir;
    const LoadedModel dense = load(write(dense_dir, dense_config()), backend_named(backend));
    const LoadedModel all = load(write(all_dir, sparse_config(kTokens)), backend_named(backend));
    const LoadedModel some = load(write(some_dir, sparse_config(30)), backend_named(backend));
    for (const LogitsOptions& options :
         {LogitsOptions{}, LogitsOptions{.chunk = 7}, LogitsOptions{.prefill = 20},
          LogitsOptions{.prefill = 60, .chunk = 64},
          LogitsOptions{.prefill = 20, .kv_dtype = Dtype::kI8}}) {
      const std::vector<float> want = logits_of(dense, tokens, options);
      const std::vector<float> got = logits_of(some, tokens, options);
      EXPECT_TRUE(same_logits(logits_of(all, tokens, options), want)) << backend;
      EXPECT_TRUE(same_logits(rows(got, 0, 30), rows(want, 0, 30))) << backend;
      EXPECT_GT(max_difference(rows(got, 30, kTokens), rows(want, 30, kTokens)), 0.01f) << backend;
    }
  }
}

void expect_sparse_refused(const Json& config, std::string_view part) {
  disk::testing::TempDir dir;
  const disk::ModelSource source = open_source(write(dir, config));
  const auto model = load_model(source, backend_named("reference"), {});
  ASSERT_FALSE(model.ok()) << part;
  EXPECT_THAT(model.error().message, ::testing::HasSubstr(std::string(part)));
}

TEST(SparseAttention, BadCheckpointsAreRefusedByName) {
  const auto changed = [](const char* key, const Json& value) {
    Json config = sparse_config(12);
    config[key] = value;
    return config;
  };
  expect_sparse_refused(changed("index_topk", 0), "index_topk");
  expect_sparse_refused(changed("index_topk", nullptr), "index_topk");
  expect_sparse_refused(changed("index_n_heads", -3), "index_n_heads");
  expect_sparse_refused(changed("index_head_dim", 6), "index_head_dim");
  expect_sparse_refused(changed("q_lora_rank", nullptr), "q_lora_rank");
  expect_sparse_refused(changed("index_head_dim", 24),
                        "model.layers.0.self_attn.indexer.wq_b.weight");
  // Tensors of an indexer that the config knows nothing of.
  disk::testing::TempDir dir;
  TinyWeights weights = random_weights(sparse_config(1), 17);
  const std::string path = write_hf(dir, dense_config(), hf_tensors(weights));
  const auto model = load_model(open_source(path), backend_named("reference"), {});
  ASSERT_FALSE(model.ok());
  EXPECT_THAT(model.error().message, ::testing::HasSubstr("indexer"));
}

}  // namespace
}  // namespace ferry::engine
