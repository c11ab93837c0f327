// DeepSeek-V4: the formats its experts come in, what selection changes, a drafter that is left out,
// and checkpoints that are refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "engine/testing.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

constexpr int64_t kGroup = 32;  // numbers under one scale of FP4

Json v4_config() {
  for (const TinyModel& model : tiny_models()) {
    if (std::string_view(model.name) == "deepseek_v4") return parse(model.config);
  }
  return {};
}

bool is_expert(std::string_view name) {
  return name.find(".ffn.experts.") != std::string_view::npos;
}

// The experts as published: pairs of FP4 in I8, the low half first, and a scale per group. The
// numbers that they decode to become those of `tensors`.
std::vector<StoredTensor> with_fp4_experts(std::vector<StoredTensor>& tensors) {
  constexpr float kValues[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  std::mt19937 random(3);
  std::vector<StoredTensor> out;
  for (StoredTensor& tensor : tensors) {
    if (!is_expert(tensor.decl.name)) {
      out.push_back(tensor);
      continue;
    }
    const int64_t rows = tensor.decl.shape[0], cols = tensor.decl.shape[1];
    std::vector<uint8_t> pairs(static_cast<size_t>(rows * cols / 2));
    std::vector<uint8_t> scales(static_cast<size_t>(rows * cols / kGroup));
    std::vector<float> values(static_cast<size_t>(rows * cols));
    for (uint8_t& pair : pairs) pair = static_cast<uint8_t>(random());
    for (uint8_t& scale : scales) scale = static_cast<uint8_t>(122 + random() % 4);
    for (size_t i = 0; i < values.size(); ++i) {
      const int code = i % 2 == 0 ? pairs[i / 2] & 15 : pairs[i / 2] >> 4;
      values[i] =
          std::ldexp(code < 8 ? kValues[code] : -kValues[code - 8], scales[i / kGroup] - 127);
    }
    const std::string name = tensor.decl.name;
    tensor = store(name, "F32", {rows, cols}, values);
    out.push_back({{name, quant::find_format("I8"), {rows, cols / 2}}, std::move(pairs)});
    out.push_back({{name.substr(0, name.size() - 6) + "scale",
                    quant::find_format("F8_E8M0"),
                    {rows, cols / kGroup}},
                   std::move(scales)});
  }
  return out;
}

std::vector<StoredTensor> v4_tensors(const Json& config) {
  TinyWeights weights = random_weights(config, 23);
  return hf_tensors(weights);
}

StoredTensor& named(std::vector<StoredTensor>& tensors, std::string_view name) {
  for (StoredTensor& tensor : tensors) {
    if (tensor.decl.name == name) return tensor;
  }
  CHECK(false);
  return tensors.front();
}

TEST(DeepseekV4, Fp4ExpertsAreTheNumbersTheyStandFor) {
  const Json config = v4_config();
  std::vector<StoredTensor> plain = v4_tensors(config);
  const std::vector<StoredTensor> packed = with_fp4_experts(plain);
  disk::testing::TempDir plain_dir, packed_dir;
  const std::string plain_path = write_hf(plain_dir, config, plain);
  const std::string packed_path = write_hf(packed_dir, config, packed);
  const std::vector<int32_t> tokens = random_tokens(40, 96, 5);
  for (const char* name : {"reference", "cpu"}) {
    const auto backend = backend_named(name, 2, true);
    EXPECT_LE(max_difference(logits_of(load(packed_path, backend), tokens),
                             logits_of(load(plain_path, backend), tokens)),
              1e-4f)
        << name;
  }
}

// Read on demand they are reordered again and again; guesses of the layer behind are made, and
// where token ids name its experts they are never wrong.
TEST(DeepseekV4, Fp4ExpertsAreReadOnDemand) {
  Json config = v4_config();
  config["num_hash_layers"] = 3;  // all
  std::vector<StoredTensor> plain = v4_tensors(config);
  std::vector<StoredTensor> packed = with_fp4_experts(plain);
  const disk::testing::TempDir dir, bad_dir;
  const std::string path = write_hf(dir, config, packed);
  const std::vector<int32_t> tokens = random_tokens(40, 96, 5);
  const auto backend = backend_named("cpu", 2);
  const LoadedModel whole = load(path, backend);
  EXPECT_GT(whole.expert_bytes, 0);
  const LogitsOptions by_token{.prefill = 1};
  const std::vector<float> expected = logits_of(whole, tokens, by_token);
  for (const int64_t room : {2 * (whole.largest_expert_bytes + 8192), 2 * whole.expert_bytes}) {
    const auto own = backend_named("cpu", 2);
    auto part = load_model(open_source(path), own, {.expert_memory = room});
    ASSERT_TRUE(part.ok()) << part.error().message;
    EXPECT_LT(part->weights_bytes, whole.weights_bytes);
    const std::vector<float> found = logits_of(*part, tokens, by_token);
    EXPECT_EQ(std::memcmp(expected.data(), found.data(), expected.size() * sizeof(float)), 0);
    const OnDemandStats stats = own->on_demand_stats();
    EXPECT_GT(stats.misses, 0);
    if (room < whole.expert_bytes) continue;
    EXPECT_GT(stats.guesses, 0);
    EXPECT_EQ(stats.guesses_used, stats.guesses);
  }

  named(packed, "layers.1.ffn.experts.3.w2.scale").bytes[5] = 0xff;
  auto bad = load_model(open_source(write_hf(bad_dir, config, packed)), backend_named("cpu"),
                        {.expert_memory = 2 * whole.expert_bytes});
  ASSERT_TRUE(bad.ok()) << bad.error().message;
  const auto logits = compute_logits(*bad, tokens, {});
  ASSERT_FALSE(logits.ok());
  EXPECT_NE(logits.error().message.find("layers.1.ffn.experts.3.w2.scale"), std::string::npos);
  EXPECT_NE(logits.error().message.find("0xff"), std::string::npos) << logits.error().message;
}

// The choice of entries counts as soon as a token sees more than index_topk of them, not before.
TEST(DeepseekV4, ChoosesBeyondTopK) {
  Json few = v4_config(), all = v4_config();
  few["index_topk"] = 5;
  all["index_topk"] = 30;
  constexpr int64_t kFirstChoice = 4 * 6 - 1;  // the first token that sees six entries
  disk::testing::TempDir few_dir, all_dir;
  const std::vector<StoredTensor> tensors = v4_tensors(few);
  const std::vector<int32_t> tokens = random_tokens(70, 96, 6);
  for (const char* name : {"reference", "cpu"}) {
    const auto backend = backend_named(name);
    const auto some = logits_of(load(write_hf(few_dir, few, tensors), backend), tokens);
    const auto dense = logits_of(load(write_hf(all_dir, all, tensors), backend), tokens);
    const auto cut = static_cast<int64_t>(some.size()) / 70 * kFirstChoice;
    EXPECT_EQ(std::memcmp(some.data(), dense.data(), static_cast<size_t>(cut) * 4), 0) << name;
    EXPECT_GT(max_difference(some, dense), 0.01f) << name;
  }
}

// A prompt cut anywhere, blocks of entries included, in every dtype of the cache.
TEST(DeepseekV4, BitsDoNotDependOnTheCut) {
  const Json config = v4_config();
  disk::testing::TempDir dir;
  const LoadedModel model =
      load(write_hf(dir, config, v4_tensors(config)), backend_named("cpu", 2));
  const std::vector<int32_t> tokens = random_tokens(75, 96, 7);
  for (const Dtype dtype : {Dtype::kF32, Dtype::kBF16, Dtype::kI8}) {
    const auto whole = logits_of(model, tokens, {.kv_dtype = dtype});
    for (const int64_t block_size : {1, 3, 16, 32}) {
      for (const int64_t chunk : {1, 2, 5, 17}) {
        const auto cut =
            logits_of(model, tokens, {.chunk = chunk, .kv_dtype = dtype, .block_size = block_size});
        EXPECT_EQ(std::memcmp(cut.data(), whole.data(), whole.size() * sizeof(float)), 0)
            << dtype_name(dtype) << ", chunks of " << chunk << ", pages of " << block_size;
      }
    }
  }
}

// DSpark checkpoints carry a drafter of three stages under mtp.*, which is left out.
TEST(DeepseekV4, LeavesTheDrafterOut) {
  Json config = v4_config();
  std::vector<StoredTensor> tensors = v4_tensors(config);
  config["dspark_block_size"] = 5;
  config["compress_ratios"] = {0, 4, 16, 0, 0, 0};
  std::erase_if(tensors, [](const StoredTensor& t) { return t.decl.name.starts_with("mtp."); });
  const std::vector<float> any(64 * 64, 1.0f);
  tensors.push_back(store("mtp.0.main_proj.weight", "BF16", {64, 64}, any));
  disk::testing::TempDir dir;
  const LoadedModel model = load(write_hf(dir, config, tensors), backend_named("reference"));
  EXPECT_EQ(model.model->num_mtp_modules(), 0);
  EXPECT_THAT(model.spec().left_out, ::testing::HasSubstr("DSpark"));
  const auto guessing = load_model(open_source(dir.path()), model.backend, {.mtp = true});
  ASSERT_FALSE(guessing.ok());
  EXPECT_THAT(guessing.error().message, ::testing::HasSubstr("no prediction module (MTP)"));
  EXPECT_THAT(guessing.error().message, ::testing::HasSubstr("DSpark"));
}

void expect_v4_refused(const Json& config, const std::vector<StoredTensor>& tensors,
                       std::vector<std::string> parts) {
  disk::testing::TempDir dir;
  const auto model =
      load_model(open_source(write_hf(dir, config, tensors)), backend_named("reference"), {});
  ASSERT_FALSE(model.ok()) << parts.front();
  for (const std::string& part : parts) {
    EXPECT_THAT(model.error().message, ::testing::HasSubstr(part));
  }
}

TEST(DeepseekV4, BadConfigsAreRefusedByName) {
  const std::vector<StoredTensor> tensors = v4_tensors(v4_config());
  const auto refused = [&](const char* key, const Json& value, const char* part) {
    Json config = v4_config();
    config[key] = value;
    expect_v4_refused(config, tensors, {key, part});
  };
  refused("compress_ratios", {0, 4, 16, 0, 0}, "found 5 numbers, expected 4");
  refused("compress_ratios", {0, 4}, "found 2 numbers, expected 4");
  refused("compress_ratios", {0, 2, 16, 0}, "found 2, expected 0 or at least 4");
  refused("compress_ratios", {0, 4, 100000, 0}, "100000");
  refused("compress_ratios", {0, 4, 16, 4}, "found 4 for the prediction module, expected 0");
  refused("o_groups", 3, "expected a divisor of num_attention_heads 4");
  refused("qk_rope_head_dim", 7, "even");
  refused("qk_rope_head_dim", 24, "below head_dim");
  refused("index_head_dim", 6, "at least qk_rope_head_dim");
  refused("num_key_value_heads", 4, "4");
  refused("num_hash_layers", 9, "9");
  refused("scoring_func", "softmax", "sqrtsoftplus");
  refused("swiglu_limit", nullptr, "number");
  refused("hc_mult", 0, "0");
  refused("n_routed_experts", nullptr, "mixture");
  Json newer = v4_config();
  newer["kv_source_layer_ids"] = {0, 1};
  expect_v4_refused(newer, tensors, {"V4.1", "not supported"});
}

TEST(DeepseekV4, BadTensorsAreRefusedByName) {
  const Json config = v4_config();
  const std::vector<StoredTensor> good = v4_tensors(config);
  const std::string table = "layers.0.ffn.gate.tid2eid";
  for (const auto& [value, part] :
       {std::pair<int64_t, const char*>{8, "row 2: found 8, expected 0 to 7"},
        std::pair<int64_t, const char*>{-1, "row 2: found -1"}}) {
    std::vector<StoredTensor> tensors = good;
    std::memcpy(named(tensors, table).bytes.data() + 7 * sizeof value, &value, sizeof value);
    expect_v4_refused(config, tensors, {table, part});
  }
  std::vector<StoredTensor> twice = good;
  std::vector<uint8_t>& ids = named(twice, table).bytes;
  std::memcpy(ids.data() + 4 * 8, ids.data() + 3 * 8, 8);
  expect_v4_refused(config, twice, {table, "row 1", "is there twice"});

  std::vector<StoredTensor> plain = good;
  std::vector<StoredTensor> packed = with_fp4_experts(plain);
  const std::string scale = "layers.1.ffn.experts.3.w2.scale";
  named(packed, scale).bytes[5] = 0xff;
  expect_v4_refused(config, packed, {scale, "0xff"});

  std::vector<StoredTensor> fp8 = good;
  StoredTensor& matrix = named(fp8, "layers.1.attn.wq_a.weight");
  const std::vector<float> ones(static_cast<size_t>(40 * 64), 1.0f);
  matrix = store(matrix.decl.name, "F8_E4M3", {40, 64}, ones);
  fp8.push_back({{"layers.1.attn.wq_a.scale", quant::find_format("F8_E8M0"), {1, 1}}, {0x7f}});
  disk::testing::TempDir dir;
  load(write_hf(dir, config, fp8), backend_named("reference"));
  fp8.back().bytes[0] = 0xff;
  expect_v4_refused(config, fp8, {"layers.1.attn.wq_a.scale", "expected a finite number"});

  std::vector<StoredTensor> without = good;
  std::erase_if(
      without, [](const StoredTensor& t) { return t.decl.name == "layers.2.attn.compressor.ape"; });
  expect_v4_refused(config, without, {"layers.2.attn.compressor.ape", "missing"});
}

}  // namespace
}  // namespace ferry::engine
