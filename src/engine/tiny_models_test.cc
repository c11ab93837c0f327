// Every architecture with random weights: what no code above the seam may do (peek), and what no
// company may change (bits).
#include <gtest/gtest.h>

#include <cstring>

#include "engine/testing.h"
#include "far/far_backend.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && !a.empty() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class TinyModels : public ::testing::TestWithParam<TinyModel> {
 protected:
  // A checkpoint of the model on disk; FP8 where the format allows it.
  std::string write(bool fp8) {
    const Json config = parse(GetParam().config);
    TinyWeights weights = random_weights(config, 7);
    return write_hf(dir_, config, hf_tensors(weights, "BF16", fp8));
  }

  disk::testing::TempDir dir_;
};

// The far backend computes what the reference computes, on memory that the host can't read and in
// a queue that runs later: equal bits mean that nothing above the seam followed a device address
// or counted on something being done.
TEST_P(TinyModels, NothingAboveTheSeamPeeks) {
  for (const bool fp8 : {false, true}) {
    const std::string path = write(fp8);
    const LoadedModel reference = load(path, backend_named("reference"));
    const LoadedModel far = load(path, far::make_far_backend());
    const std::vector<int32_t> tokens = random_tokens(37, reference.spec().vocab_size, 3);
    for (const LogitsOptions& options :
         {LogitsOptions{}, LogitsOptions{.prefill = 20, .chunk = 7}}) {
      EXPECT_TRUE(same_bits(logits_of(far, tokens, options), logits_of(reference, tokens, options)))
          << GetParam().name << (fp8 ? " fp8" : "");
    }
  }
}

// Alone, or among 15 other sequences of other lengths, with prompts cut anywhere.
TEST_P(TinyModels, BitsDoNotDependOnCompany) {
  const std::string path = write(false);
  const LoadedModel alone = load(path, backend_named("cpu", 1));
  const LoadedModel pair = load(path, backend_named("cpu", 2));
  std::vector<std::vector<int32_t>> sequences;
  for (int i = 0; i < 16; ++i) {
    sequences.push_back(random_tokens(20 + (i * 13) % 61, alone.spec().vocab_size, 100 + i));
  }
  for (const LogitsOptions& options :
       {LogitsOptions{}, LogitsOptions{.chunk = 1}, LogitsOptions{.chunk = 7},
        LogitsOptions{.chunk = 64}, LogitsOptions{.prefill = 11, .chunk = 7}}) {
    auto together = compute_logits_together({&pair, 1}, sequences, options);
    ASSERT_TRUE(together.ok()) << together.error().message;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const LogitsOptions whole{.prefill = options.prefill};
      EXPECT_TRUE(same_bits((*together)[i], logits_of(alone, sequences[i], whole)))
          << GetParam().name << ", sequence " << i << ", chunks of " << options.chunk;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, TinyModels, ::testing::ValuesIn(tiny_models()),
                         [](const auto& test) {
                           std::string name = test.param.name;
                           for (char& c : name)
                             c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace ferry::engine
