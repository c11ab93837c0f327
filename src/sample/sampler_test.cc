// Each filter against a naive definition, distributions against their probabilities, and the
// promise that a seed gives one text.
#include "sample/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "sample/portable_math.h"

namespace ferry::sample {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(uint32_t seed, int size, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

int32_t sample_once(Sampler& sampler, std::vector<float> logits) {
  Result<Choice> choice = sampler.sample(logits, {});
  EXPECT_TRUE(choice.ok()) << (choice.ok() ? "" : choice.error().message);
  return choice.ok() ? choice->token : -1;
}

// What the documented steps leave, most plainly written.
std::map<int32_t, double> naive_distribution(const std::vector<float>& logits,
                                             const SamplingParams& params) {
  std::vector<std::pair<double, int32_t>> order;  // (-logit, id): most probable first
  for (size_t i = 0; i < logits.size(); ++i) order.emplace_back(-logits[i], i);
  std::sort(order.begin(), order.end());
  if (params.top_k > 0 && params.top_k < static_cast<int64_t>(order.size())) {
    order.resize(params.top_k);
  }
  std::vector<double> weights;
  double total = 0;
  for (const auto& entry : order) {
    weights.push_back(std::exp((order[0].first - entry.first) / params.temperature));
    total += weights.back();
  }
  std::map<int32_t, double> kept;
  double cumulative = 0, kept_total = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (params.top_p < 1 && cumulative >= params.top_p * total) break;
    cumulative += weights[i];
    if (weights[i] < params.min_p) continue;
    kept[order[i].second] = weights[i];
    kept_total += weights[i];
  }
  for (auto& entry : kept) entry.second /= kept_total;
  return kept;
}

void expect_distribution(const std::vector<float>& logits, const SamplingParams& params) {
  const std::map<int32_t, double> expected = naive_distribution(logits, params);
  constexpr int kDraws = 20000;
  Sampler sampler(params, 42, logits.size(), {});
  std::map<int32_t, int> counts;
  for (int i = 0; i < kDraws; ++i) ++counts[sample_once(sampler, logits)];
  for (const auto& [id, count] : counts) {
    EXPECT_TRUE(expected.count(id)) << "token " << id << " was filtered out, drawn " << count;
  }
  for (const auto& [id, probability] : expected) {
    const double sigma = std::sqrt(kDraws * probability * (1 - probability));
    EXPECT_NEAR(counts[id], kDraws * probability, 5 * sigma + 1) << "token " << id;
  }
}

TEST(Sampler, DistributionsOfEachFilter) {
  const std::vector<float> logits = random_logits(1, 50, 2.0f);
  expect_distribution(logits, {});
  expect_distribution(logits, {.temperature = 0.5});
  expect_distribution(logits, {.temperature = 3.0});
  expect_distribution(logits, {.top_k = 1});
  expect_distribution(logits, {.top_k = 5});
  expect_distribution(logits, {.top_k = 500});
  expect_distribution(logits, {.top_p = 0.001});
  expect_distribution(logits, {.top_p = 0.8});
  expect_distribution(logits, {.min_p = 0.1});
  expect_distribution(logits, {.min_p = 1.0});
  expect_distribution(logits, {.temperature = 1.3, .top_k = 20, .top_p = 0.9, .min_p = 0.05});
}

TEST(Sampler, TiesGoToTheLowerId) {
  const std::vector<float> logits(10, 1.0f);
  expect_distribution(logits, {.top_k = 3});
  expect_distribution(logits, {.top_p = 0.35});
  Sampler greedy({.temperature = 0}, 0, 10, {});
  EXPECT_EQ(sample_once(greedy, logits), 0);
}

TEST(Sampler, FiltersKeepExactlyTheNaiveSet) {
  for (uint32_t round = 0; round < 200; ++round) {
    std::mt19937 random(round);
    const SamplingParams params{.temperature = 0.2 + random() % 30 / 10.0,
                                .top_k = static_cast<int64_t>(random() % 12),
                                .top_p = (1 + random() % 100) / 100.0,
                                .min_p = random() % 30 / 100.0};
    std::vector<float> logits = random_logits(round, 20, 1.5f);
    const auto expected = naive_distribution(logits, params);
    Sampler sampler(params, round, 20, {});
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(expected.count(sample_once(sampler, logits)));
  }
}

TEST(Sampler, SameSeedSameTokensOtherSeedOthers) {
  const std::vector<float> logits = random_logits(3, 1000, 1.0f);
  const auto run = [&](uint64_t seed) {
    Sampler sampler({.top_p = 0.95}, seed, 1000, {});
    std::vector<int32_t> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(sample_once(sampler, logits));
    return tokens;
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
}

// The very numbers, so that a change of generator or platform can't pass unseen.
TEST(Sampler, DrawsAreTheSameOnEveryPlatform) {
  static_assert(uniform_at(0, 0) < 1.0);
  EXPECT_NE(uniform_at(0, 1), uniform_at(1, 0));
  std::vector<float> logits(100);
  for (int i = 0; i < 100; ++i) logits[i] = static_cast<float>((i * 37) % 100) / 16.0f;
  Sampler sampler({.temperature = 0.9, .top_k = 60, .top_p = 0.97}, 1234, 100, {});
  std::vector<int32_t> tokens;
  for (int i = 0; i < 12; ++i) tokens.push_back(sample_once(sampler, logits));
  EXPECT_EQ(tokens, (std::vector<int32_t>{51, 2, 54, 16, 78, 54, 35, 8, 43, 5, 27, 94}));
}

TEST(Sampler, UniformsAreUniform) {
  constexpr int kBins = 64, kNumbers = 64000;
  for (uint64_t seed : {0u, 1u, 77u}) {
    std::vector<int> bins(kBins);
    double lag = 0, previous = uniform_at(seed, 0);
    for (int i = 1; i <= kNumbers; ++i) {
      const double u = uniform_at(seed, i);
      ASSERT_GE(u, 0.0);
      ASSERT_LT(u, 1.0);
      ++bins[static_cast<int>(u * kBins)];
      lag += (u - 0.5) * (previous - 0.5);
      previous = u;
    }
    double chi_squared = 0;
    for (int count : bins) chi_squared += (count - 1000.0) * (count - 1000.0) / 1000.0;
    EXPECT_LT(chi_squared, 63 + 5 * std::sqrt(2 * 63.0));
    EXPECT_NEAR(lag / kNumbers * 12, 0, 0.03);
  }
}

TEST(Sampler, PortableExpAgreesWithTheLibrary) {
  for (double x = 0; x > -720; x -= 0.01377) {
    const double expected = x > -708 ? std::exp(x) : 0.0;
    ASSERT_NEAR(exp_of_negative(x), expected, 5e-16 * expected) << x;
  }
  EXPECT_EQ(exp_of_negative(0), 1.0);
  EXPECT_EQ(exp_of_negative(-std::numeric_limits<double>::infinity()), 0.0);
}

TEST(Sampler, RepetitionPenaltyCountsPromptAndOutput) {
  // 2 / 1.5 < 1.5 and -1 · 1.5 < -1.2: each penalised token loses its lead.
  const std::vector<int32_t> prompt = {0};
  Sampler sampler({.temperature = 0, .repetition_penalty = 1.5}, 0, 4, prompt);
  EXPECT_EQ(sample_once(sampler, {2.0f, 1.5f, 0.0f, 0.0f}), 1);
  EXPECT_EQ(sample_once(sampler, {1.5f, 1.5f, 1.2f, 0.0f}), 2);  // 0 and 1 are 1.0 now
  Sampler negative({.temperature = 0, .repetition_penalty = 1.5}, 0, 2, prompt);
  EXPECT_EQ(sample_once(negative, {-1.0f, -1.2f}), 1);
}

TEST(Sampler, PresenceAndFrequencyCountTheOutputOnly) {
  const std::vector<int32_t> prompt = {1, 1, 1};
  Sampler presence({.temperature = 0, .presence_penalty = 1.0}, 0, 3, prompt);
  EXPECT_EQ(sample_once(presence, {0.0f, 1.5f, 1.0f}), 1);
  EXPECT_EQ(sample_once(presence, {0.0f, 1.5f, 1.0f}), 2);
  EXPECT_EQ(sample_once(presence, {0.0f, 1.5f, 1.0f}), 1);  // 0.5 against 0.0: once is once
  Sampler frequency({.temperature = 0, .frequency_penalty = 1.0}, 0, 3, prompt);
  EXPECT_EQ(sample_once(frequency, {0.0f, 2.5f, 0.0f}), 1);
  EXPECT_EQ(sample_once(frequency, {0.0f, 2.5f, 0.0f}), 1);
  EXPECT_EQ(sample_once(frequency, {0.6f, 2.5f, 0.0f}), 0);  // 2.5 - 2
}

TEST(Sampler, LogitBiasBansAndForces) {
  Sampler sampler({.temperature = 0, .logit_bias = {{1, -100.0f}, {2, 5.0f}}}, 0, 3, {});
  EXPECT_EQ(sample_once(sampler, {0.0f, 50.0f, 0.0f}), 2);
}

TEST(Sampler, PaddingRowsAndForbiddenIdsAreNeverChosen) {
  SamplingParams hot{.temperature = 50.0};
  Sampler sampler(hot, 1, 4, {});
  const std::vector<int32_t> forbidden = {2};
  for (int i = 0; i < 2000; ++i) {
    std::vector<float> logits = {0, 0, 90, 0, 99, 99};
    Result<Choice> choice = sampler.sample(logits, forbidden);
    ASSERT_TRUE(choice.ok());
    ASSERT_NE(choice->token, 2);
    ASSERT_LT(choice->token, 4);
  }
}

TEST(Sampler, BadLogitsAreAnErrorThatNamesTheToken) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity}) {
    for (double temperature : {0.0, 1.0}) {
      Sampler sampler({.temperature = temperature}, 0, 3, {});
      std::vector<float> logits = {0, bad, 0};
      Result<Choice> choice = sampler.sample(logits, {});
      ASSERT_FALSE(choice.ok());
      EXPECT_NE(choice.error().message.find("token 1"), std::string::npos);
    }
  }
  // A NaN in the padding is nobody's business.
  Sampler sampler({.temperature = 0}, 0, 2, {});
  EXPECT_EQ(sample_once(sampler, {0, 1, std::nanf("")}), 1);
}

TEST(Sampler, NothingLeftIsAnError) {
  for (double temperature : {0.0, 1.0}) {
    Sampler sampler({.temperature = temperature}, 0, 2, {});
    std::vector<float> logits = {-kInfinity, 1.0f};
    const std::vector<int32_t> forbidden = {1};
    EXPECT_FALSE(sampler.sample(logits, forbidden).ok());
  }
}

TEST(Sampler, LogprobsAreTheModelsOwn) {
  SamplingParams params{.temperature = 0, .logit_bias = {{0, 50.0f}}, .logprobs = 3};
  Sampler sampler(params, 0, 4, {});
  std::vector<float> logits = {0.0f, std::log(2.0f), std::log(2.0f), std::log(5.0f), 100.0f};
  Result<Choice> choice = sampler.sample(logits, {});
  ASSERT_TRUE(choice.ok());
  const PositionLogprobs& got = *choice->logprobs;
  EXPECT_EQ(got.chosen.token, 0);
  EXPECT_NEAR(got.chosen.logprob, std::log(0.1), 1e-6);
  ASSERT_EQ(got.top.size(), 3u);
  EXPECT_EQ(got.top[0].token, 3);
  EXPECT_NEAR(got.top[0].logprob, std::log(0.5), 1e-6);
  EXPECT_EQ(got.top[1].token, 1);
  EXPECT_EQ(got.top[2].token, 2);

  Sampler none({.temperature = 0}, 0, 4, {});
  EXPECT_FALSE(none.sample(logits, {})->logprobs.has_value());
}

TEST(Sampler, OnlyAllowedTokensAreChosen) {
  const std::vector<uint32_t> allowed = {0b1010, 0b1};  // 1, 3 and 32
  for (const double temperature : {0.0, 5.0}) {
    SamplingParams params;
    params.temperature = temperature;
    Sampler sampler(params, 7, 40, {});
    for (int i = 0; i < 50; ++i) {
      std::vector<float> logits(40, 1.0f);
      logits[3] = 1.5f;
      logits[7] = 9.0f;
      const Result<Choice> choice = sampler.sample(logits, {}, allowed);
      ASSERT_TRUE(choice.ok());
      EXPECT_TRUE(choice->token == 1 || choice->token == 3 || choice->token == 32);
      if (temperature == 0) {
        EXPECT_EQ(choice->token, 3);
      }
    }
    std::vector<float> logits(40, 1.0f);
    EXPECT_FALSE(sampler.sample(logits, {}, std::vector<uint32_t>(2, 0)).ok());
  }
}

// The largest of a row as Stream::top_logits() has them, by sorting all of it.
struct Largest {
  std::vector<float> values;
  std::vector<int32_t> ids;
  TopLogits view() const { return {values, ids}; }
};

Largest largest_of(const std::vector<float>& logits, int64_t count) {
  Largest largest;
  largest.ids.resize(logits.size());
  std::iota(largest.ids.begin(), largest.ids.end(), 0);
  const auto is_number = [&](int32_t id) { return logits[id] < kInfinity; };
  std::stable_sort(largest.ids.begin(), largest.ids.end(), [&](int32_t a, int32_t b) {
    if (!is_number(a) || !is_number(b)) return is_number(b) && !is_number(a);
    return logits[a] > logits[b];
  });
  for (int32_t id : largest.ids) largest.values.push_back(logits[id]);
  largest.ids.resize(count, -1);
  largest.values.resize(count, -kInfinity);
  return largest;
}

std::string outcome(const Result<Choice>& choice) {
  return choice.ok() ? std::to_string(choice->token) : choice.error().message;
}

TEST(Sampler, TheLargestLogitsChooseWhatWholeRowsDo) {
  std::map<std::string, int> outcomes;
  for (uint32_t round = 0; round < 6000; ++round) {
    std::mt19937 random(round);
    const auto below = [&](uint32_t end) { return static_cast<int64_t>(random() % end); };
    const int64_t size = 1 + below(round % 2 == 0 ? 12 : 400);
    SamplingParams params{.temperature = below(3) == 0 ? 0.0 : 0.3 + below(20) / 10.0};
    if (params.temperature != 0) params.top_k = 1 + below(30);
    if (below(2) == 0) params.top_p = (1 + below(100)) / 100.0;
    if (below(3) == 0) params.min_p = below(30) / 100.0;
    std::vector<int32_t> forbidden;
    for (int64_t n = below(4); n > 0; --n) forbidden.push_back(below(size + 3) - 1);
    Sampler whole(params, round, size, {}), by_largest(params, round, size, {});
    const int64_t deciding = whole.num_deciding(std::ssize(forbidden));
    if (deciding == kAllLogits) {
      ASSERT_GE(params.top_k, size);  // filters nothing
      continue;
    }
    for (int step = 0; step < 4; ++step) {
      std::vector<float> logits = random_logits(round * 4 + step, size, 2.0f);
      if (below(2) == 0) {
        for (float& logit : logits) logit = std::round(logit);  // many are equal, some are -0
      }
      for (float& logit : logits) {
        if (round % 5 == 0 && below(4) != 0) logit = -kInfinity;
        if (round % 7 == 0 && below(200) == 0) logit = below(2) == 0 ? NAN : kInfinity;
      }
      const Largest largest = largest_of(logits, deciding + below(20));
      std::vector<float> row = logits;
      const std::string expected = outcome(whole.sample(row, forbidden));
      ASSERT_EQ(outcome(by_largest.sample(largest.view(), forbidden)), expected) << round;
      ++outcomes[expected.size() < 5 ? "token" : expected.substr(0, 5)];
    }
  }
  EXPECT_GT(outcomes["token"], 15000);
  EXPECT_GT(outcomes["logit"], 100);  // of token 3 is nan
  EXPECT_GT(outcomes["no to"], 100);  // is allowed
}

TEST(Sampler, SaysHowManyLogitsDecide) {
  const auto deciding = [](const SamplingParams& params, int64_t num_forbidden) {
    return Sampler(params, 0, 1000, {}).num_deciding(num_forbidden);
  };
  EXPECT_EQ(deciding({.temperature = 0}, 0), 1);
  EXPECT_EQ(deciding({.temperature = 0, .top_k = 7}, 3), 4);
  EXPECT_EQ(deciding({.top_k = 50}, 2), 53);
  EXPECT_EQ(deciding({.top_k = 50, .top_p = 0.9, .min_p = 0.1}, 0), 51);
  EXPECT_EQ(deciding({.top_k = 1000}, 0), kAllLogits);
  EXPECT_EQ(deciding({}, 0), kAllLogits);
  EXPECT_EQ(deciding({.top_p = 0.9}, 0), kAllLogits);
  const SamplingParams greedy{.temperature = 0};
  for (int kind = 0; kind < 5; ++kind) {
    SamplingParams params = greedy;
    if (kind == 0) params.presence_penalty = -0.5;
    if (kind == 1) params.frequency_penalty = 0.5;
    if (kind == 2) params.repetition_penalty = 1.1;
    if (kind == 3) params.logit_bias = {{3, 1.0f}};
    if (kind == 4) params.logprobs = 0;
    EXPECT_EQ(deciding(params, 0), kAllLogits) << kind;
  }
}

TEST(Sampler, IdsBehindTheVocabularyAreRefused) {
  const std::vector<float> values = {2, 1};
  const std::vector<int32_t> ids = {1, 10};
  Sampler sampler({.top_k = 1}, 0, 10, {});
  EXPECT_EQ(outcome(sampler.sample(TopLogits{values, ids}, {})),
            "one of the largest logits is that of token 10; there are 10");
}

}  // namespace
}  // namespace ferry::sample
