// The router's choice where numbers are equal, infinite or none: expert by expert what the
// reference chooses.
#include <cmath>
#include <limits>
#include <vector>

#include "vendor/cuda/emulated_driver.h"

namespace ferry::cuda {
namespace {

constexpr int64_t kTokens = 64, kNumExperts = 40, kChosen = 6;

struct Choice {
  std::vector<int32_t> ids = std::vector<int32_t>(kTokens * kChosen);
  std::vector<float> weights = std::vector<float>(kTokens * kChosen);
};

Choice choose(Backend& backend, const std::vector<float>& logits, const std::vector<float>& bias,
              const GateSpec& spec) {
  auto stream = backend.create_stream().value();
  const Buffer memory = backend.allocate(1 << 20).value();
  char* base = static_cast<char*>(memory.data);
  const auto place = [&](int64_t kib, Dtype dtype, std::initializer_list<int64_t> dims) {
    return TensorView::contiguous(base + kib * 1024, dtype, dims);
  };
  const TensorView ids = place(64, Dtype::kI32, {kTokens, kChosen});
  const TensorView weights = place(128, Dtype::kF32, {kTokens, kChosen});
  const TensorView x = place(0, Dtype::kF32, {kTokens, kNumExperts});
  const TensorView b = place(192, Dtype::kF32, {kNumExperts});
  stream->copy_in(x.data, logits.data(), x.extent_bytes());
  stream->copy_in(b.data, bias.data(), b.extent_bytes());
  stream->moe_gate({.logits = x, .bias = b, .spec = spec, .ids = ids, .weights = weights});
  Choice choice;
  stream->copy_out(choice.ids.data(), ids.data, ids.extent_bytes());
  stream->copy_out(choice.weights.data(), weights.data, weights.extent_bytes());
  EXPECT_TRUE(stream->synchronize().ok());
  return choice;
}

// Experts of every token by a kind of trouble of its own; `extremes` are drawn among logits.
void expect_same_choice(const GateSpec& spec, const std::vector<float>& extremes,
                        const std::vector<float>& bias) {
  use_driver("current");
  const auto subject = open_on_driver();
  ASSERT_NE(subject, nullptr);
  const auto reference = open_backend("reference", {}).value();
  uint64_t state = 7;
  std::vector<float> logits(kTokens * kNumExperts);
  for (float& logit : logits) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t draw = state >> 40;
    // Few different values, so that many are equal.
    logit = draw % 3 == 0 ? extremes[draw / 3 % extremes.size()]
                          : static_cast<float>(draw / 3 % 4) - 2.0f;
  }
  const Choice got = choose(*subject, logits, bias, spec);
  const Choice expected = choose(*reference, logits, bias, spec);
  EXPECT_EQ(got.ids, expected.ids);
  for (size_t i = 0; i < got.weights.size(); ++i) {
    if (std::isnan(expected.weights[i])) {
      EXPECT_TRUE(std::isnan(got.weights[i])) << i;
    } else {
      EXPECT_NEAR(got.weights[i], expected.weights[i], 1e-6f) << i;
    }
  }
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNothing = std::numeric_limits<float>::quiet_NaN();

GateSpec spec_of(GateScore score) {
  return {.score = score, .num_experts = kNumExperts, .top_k = kChosen, .renormalize = false};
}

TEST(CudaGate, EqualScores) {
  for (const GateScore score :
       {GateScore::kSoftmax, GateScore::kSigmoid, GateScore::kSqrtSoftplus}) {
    expect_same_choice(spec_of(score), {0.0f, -0.0f, 1.0f}, std::vector<float>(kNumExperts));
  }
}

TEST(CudaGate, InfiniteAndNoNumbers) {
  expect_same_choice(spec_of(GateScore::kSigmoid), {kNothing, kInfinity, -kInfinity},
                     std::vector<float>(kNumExperts));
}

// All but three experts are as small as can be, or nothing: the lowest that are left follow.
TEST(CudaGate, BiasThatExcludes) {
  for (const float excluding : {-kInfinity, kNothing}) {
    std::vector<float> bias(kNumExperts, excluding);
    bias[5] = bias[17] = bias[31] = 0;
    expect_same_choice(spec_of(GateScore::kSigmoid), {0.5f}, bias);
  }
}

// Half of the groups are as small as can be.
TEST(CudaGate, GroupsThatAreEqual) {
  GateSpec spec = spec_of(GateScore::kSigmoid);
  spec.num_groups = 8;
  spec.top_k_groups = 3;
  spec.group_score = GroupScore::kSumOfTopTwo;
  std::vector<float> bias(kNumExperts);
  for (int64_t e = 0; e < 20; ++e) bias[static_cast<size_t>(e)] = -kInfinity;
  expect_same_choice(spec, {kInfinity, -kInfinity}, bias);
}

}  // namespace
}  // namespace ferry::cuda
