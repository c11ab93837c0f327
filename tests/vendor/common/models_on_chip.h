// Models on an emulated chip, for the tests of every vendor's backend: an architecture with random
// weights, the built-in model's answers, and the shared reference models where they are.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/demo_engine.h"
#include "engine/testing.h"

namespace ferry::engine::testing {

// Weights are f32. Sums in f32 in another order: what the cpu backend differs by is of the same
// size.
inline constexpr float kMostDifference = 1e-3f;

// fp8: weights of the file in FP8 with block scales; otherwise bf16.
inline void expect_logits_of_reference(const TinyModel& tiny, const std::string& backend,
                                       bool fp8) {
  const Json config = parse(tiny.config);
  const disk::testing::TempDir dir;
  TinyWeights weights = random_weights(config, 7);
  const std::string path = write_hf(dir, config, hf_tensors(weights, "BF16", fp8));
  const LoadedModel reference = load(path, backend_named("reference"));
  const LoadedModel emulated = load(path, backend_named(backend, 1, true));
  const std::vector<int32_t> tokens = random_tokens(37, reference.spec().vocab_size, 3);
  for (const LogitsOptions& options : {LogitsOptions{}, LogitsOptions{.prefill = 20, .chunk = 7}}) {
    EXPECT_LE(
        max_difference(logits_of(emulated, tokens, options), logits_of(reference, tokens, options)),
        kMostDifference)
        << tiny.name << (fp8 ? " fp8" : "");
  }
}

// FP8 as the chip keeps it by default, int8. Where experts are chosen, rounding chooses others
// among random ones: such models are only asked for numbers. The built-in model says what it costs.
inline void expect_fp8_in_int8(const std::string& backend) {
  for (const TinyModel& tiny : tiny_models()) {
    const Json config = parse(tiny.config);
    const disk::testing::TempDir dir;
    TinyWeights weights = random_weights(config, 7);
    const std::string path = write_hf(dir, config, hf_tensors(weights, "BF16", true));
    const LoadedModel packed = load(path, backend_named(backend));
    const LoadedModel reference = load(path, backend_named("reference"));
    const std::vector<int32_t> tokens = random_tokens(37, reference.spec().vocab_size, 3);
    const std::vector<float> expected = logits_of(reference, tokens);
    float largest = 0;
    for (float logit : expected) largest = std::max(largest, std::abs(logit));
    const double off = max_difference(logits_of(packed, tokens), expected) / largest;
    const bool chooses = config.contains("n_routed_experts") || config.contains("num_experts");
    EXPECT_LE(off, chooses ? 2.0 : 0.1) << tiny.name;
    EXPECT_GT(off, 1e-4) << tiny.name << " was not rounded";
  }
}

// Two devices with half of the model each, against one with all of it.
inline void expect_shards_agree(const TinyModel& tiny, const std::string& backend) {
  setenv("FERRY_EMULATED_DEVICES", "2", 1);
  const Json config = parse(tiny.config);
  const disk::testing::TempDir dir;
  TinyWeights weights = random_weights(config, 7);
  const std::string path = write_hf(dir, config, hf_tensors(weights));
  const LoadedModel reference = load(path, backend_named("reference"));
  const std::vector<LoadedModel> shards = load_on_ranks(path, backend, 2);
  const LoadedModel whole = load(path, backend_named(backend, 1, true));
  for (const LoadedModel& shard : shards) EXPECT_LT(shard.weights_bytes, whole.weights_bytes);
  const std::vector<int32_t> tokens = random_tokens(37, reference.spec().vocab_size, 3);
  for (const LogitsOptions& options : {LogitsOptions{}, LogitsOptions{.prefill = 20, .chunk = 7}}) {
    EXPECT_LE(
        max_difference(logits_of(shards, tokens, options), logits_of(reference, tokens, options)),
        kMostDifference)
        << tiny.name;
  }
}

// An engine on two devices answers as one on the reference.
inline void expect_answers_of_two_devices(const std::string& backend,
                                          const std::vector<Request>& requests) {
  setenv("FERRY_EMULATED_DEVICES", "2", 1);
  EngineOptions options = demo_options();
  options.backend = "reference";
  options.kv_dtype = KvDtype::kBF16;
  const std::vector<Completion> expected = together(load_engine(options), requests);
  options.backend = backend;
  options.f32_activations = true;
  options.tensor_parallel_size = 2;
  const std::vector<Completion> answers = together(load_engine(options), requests);
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(answers[i].tokens, expected[i].tokens);

  options.tensor_parallel_size = 4;
  const Result<Engine> more = Engine::load(options);
  ASSERT_FALSE(more.ok());
  EXPECT_EQ(more.error().message,
            "tensor parallel size 4: " + backend + ": device 2: there are 2, counted from 0");
}

// The built-in model with weights as they are used by default and a cache of 16 bits; the requests
// together, so that steps are mixed.
inline void expect_answers_of_reference(const std::string& backend,
                                        const std::vector<Request>& requests) {
  EngineOptions options = demo_options();
  options.backend = "reference";
  options.kv_dtype = KvDtype::kBF16;
  const std::vector<Completion> expected = together(load_engine(options), requests);
  options.backend = backend;
  const std::vector<Completion> answers = together(load_engine(options), requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_FALSE(expected[i].tokens.empty());
    EXPECT_EQ(answers[i].tokens, expected[i].tokens) << i;
  }
}

// A model's file or folder in goldens/, and what its logits are called there.
using Golden = std::pair<const char*, const char*>;

inline void expect_golden_logits(const std::string& backend_name, std::span<const Golden> goldens,
                                 const std::vector<int>& lengths) {
  const auto backend = backend_named(backend_name, 1, true);
  for (const auto& [file, logits] : goldens) {
    const std::string path = disk::testing::shared_folder() + "/goldens/" + file;
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    const LoadedModel model = load(path, backend);
    int compared = 0;
    for (const int n : lengths) {
      const std::vector<float> expected =
          read_floats(fmt::format("{}logits-{}-{}-prefill.f32", folder, logits, n));
      if (expected.empty()) continue;
      ++compared;
      const auto tokens =
          parse(disk::testing::read_bytes(fmt::format("{}tokens-{}.json", folder, n)))
              .get<std::vector<int32_t>>();
      EXPECT_LE(max_difference(logits_of(model, tokens), expected), kMostDifference)
          << file << " " << n;
      EXPECT_LE(max_difference(logits_of(model, tokens, {.chunk = 13}), expected), kMostDifference)
          << file << " " << n;
    }
    EXPECT_GT(compared, 0) << file;
  }
}

}  // namespace ferry::engine::testing
