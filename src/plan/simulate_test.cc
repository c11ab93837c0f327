// The simulation against what can be worked out by hand, and bad traces.
#include "plan/simulate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/quote_name.h"

namespace ferry::plan {
namespace {

using ::testing::HasSubstr;

class SimulateTest : public ::testing::Test {
 protected:
  SimulateTest() {
    deployment_ = {.chip = catalogue_.find("H800").value(),
                   .model = &model_,
                   .precision = find_precision("bf16").value(),
                   .tp = 2};
    memory_ = memory_of(deployment_).value();
  }
  SimulationResult run(const std::vector<Arrival>& arrivals, SimulationOptions options = {}) {
    if (options.max_batch == 0) options.max_batch = 64;
    return simulate(deployment_, efficiency_, memory_, arrivals, options).value();
  }
  double decode_s(double batch, double context) {
    return decode_step(deployment_, efficiency_, batch, context)->total();
  }
  double prefill_s(double tokens, double prompt) {
    return prefill_step(deployment_, efficiency_, tokens, prompt)->total();
  }

  Catalogue catalogue_ = builtin_catalogue().value();
  PlanModel model_ = find_model("qwen3-32b").value();
  Efficiency efficiency_;
  Deployment deployment_;
  MemoryUse memory_;
};

TEST_F(SimulateTest, OneRequestTakesItsSteps) {
  const SimulationResult r = run({{5, 1000, 3}});
  EXPECT_EQ(r.requests, 1);
  EXPECT_EQ(r.steps, 3);
  EXPECT_NEAR(r.ttft_s.p50, prefill_s(1000, 1000), 1e-9);
  const double decodes = decode_s(1, 1001) + decode_s(1, 1002);
  EXPECT_NEAR(r.tpot_s.mean, decodes / 2, 1e-9);
  EXPECT_NEAR(r.seconds, r.ttft_s.p50 + decodes, 1e-9);
  EXPECT_NEAR(r.gap_s.p50, decodes / 2, 0.02 * decodes);
  EXPECT_NEAR(r.busy, 1, 1e-9);
}

TEST_F(SimulateTest, TokensAreSharedByWhoComesTogether) {
  const std::vector<Arrival> together(8, Arrival{0, 100, 20});
  const SimulationResult r = run(together);
  EXPECT_EQ(r.steps, 20);  // all prompts fit the first
  EXPECT_EQ(r.mean_batch, 8);
  const SimulationResult alone = run(together, {.max_batch = 1});
  EXPECT_EQ(alone.steps, 160);
  EXPECT_GT(alone.ttft_s.max, 7 * r.ttft_s.max);
  EXPECT_GT(r.output_tokens_s, 4 * alone.output_tokens_s);
}

TEST_F(SimulateTest, QueuesGrowWithTheRate) {
  const WorkloadPreset preset = find_workload("chat").value();
  double last_ttft = 0, last_busy = 0;
  for (double rate : {0.1, 2.0, 8.0}) {
    const auto arrivals = draw_arrivals(preset, 1000, 200, rate, 400, 1);
    const SimulationResult r = run(arrivals, {.max_batch = 32, .slo = {.ttft_s = 1}});
    EXPECT_EQ(r.requests, 400);
    EXPECT_GE(r.ttft_s.p99, last_ttft);
    EXPECT_GE(r.busy, last_busy);
    EXPECT_LE(r.ttft_s.p50, r.ttft_s.p90);
    EXPECT_LE(r.goodput_s, r.requests_s);
    last_ttft = r.ttft_s.p99;
    last_busy = r.busy;
  }
  EXPECT_GT(last_busy, 0.9);
}

TEST_F(SimulateTest, AFullCachePreemptsAndAnswersAll) {
  const double tokens = 5000;
  memory_.total -= memory_.free_for_kv() - tokens * memory_.kv_per_token;
  const SimulationResult r = run(std::vector<Arrival>(8, Arrival{0, 500, 400}));
  EXPECT_EQ(r.requests, 8);
  EXPECT_GT(r.preemptions, 0);
  EXPECT_EQ(run({{0, 6000, 1}, {0, 10, 1}}).too_long, 1);
}

TEST_F(SimulateTest, CachedPromptsAndDraftsSaveTime) {
  const std::vector<Arrival> arrivals{{0, 4000, 50}, {100, 4000, 50}};
  const SimulationResult cold = run(arrivals), warm = run(arrivals, {.cached = 0.9});
  EXPECT_LT(warm.ttft_s.p50, 0.4 * cold.ttft_s.p50);  // of the second
  EXPECT_NEAR(warm.ttft_s.max, cold.ttft_s.max, 1e-9);
  deployment_.mtp = 1;
  deployment_.accepted = 0.8;
  const SimulationResult drafts = run(std::vector<Arrival>(1, Arrival{0, 100, 1000}));
  EXPECT_NEAR(static_cast<double>(drafts.steps), 1000 / 1.8, 40);
}

TEST_F(SimulateTest, ArrivalsHaveTheMeansAskedFor) {
  for (const WorkloadPreset& preset : workload_presets()) {
    if (preset.arrival_cv > 2) continue;  // bursts: the mean of a few thousand gaps is far off
    const auto arrivals = draw_arrivals(preset, 800, 150, 4, 20000, 7);
    double input = 0, output = 0;
    for (const Arrival& a : arrivals) {
      input += static_cast<double>(a.input) / 20000;
      output += static_cast<double>(a.output) / 20000;
    }
    EXPECT_NEAR(input, 800, 40) << preset.name;
    EXPECT_NEAR(output, 150, 10) << preset.name;
    EXPECT_NEAR(arrivals.back().at_s, 5000, 250) << preset.name;
    EXPECT_TRUE(std::is_sorted(arrivals.begin(), arrivals.end(),
                               [](const Arrival& a, const Arrival& b) { return a.at_s < b.at_s; }));
  }
}

TEST(SimulateTrace, ReadsAndRefuses) {
  const auto trace =
      read_trace("id,arrival_s,output_tokens,input_tokens\r\na,10,5,7\r\nb,12.5,1,9");
  ASSERT_TRUE(trace.ok());
  EXPECT_EQ(trace->size(), 2u);
  EXPECT_EQ((*trace)[1].at_s, 2.5);
  EXPECT_EQ((*trace)[1].input, 9);
  const std::pair<const char*, const char*> bad[] = {
      {"", "no requests"},
      {"a,b\n", "header"},
      {"arrival_s,input_tokens,output_tokens\n", "no requests"},
      {"arrival_s,input_tokens,output_tokens\n1,2\n", "line 2"},
      {"arrival_s,input_tokens,output_tokens\n1,2,x\n", "\"x\""},
      {"arrival_s,input_tokens,output_tokens\n1,0,3\n", "\"0\""},
      {"arrival_s,input_tokens,output_tokens\n1,\x1b\xc3,3\n", "\"\\x1b\\xc3\""},
      {"arrival_s,input_tokens,output_tokens\nnan,1,3\n", "\"nan\""},
      {"arrival_s,input_tokens,output_tokens\n3,1,3\n2,1,1\n", "line 3"}};
  for (const auto& [text, message] : bad) {
    const auto result = read_trace(text);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_THAT(result.error().message, HasSubstr(message));
    EXPECT_TRUE(is_one_line(result.error().message)) << result.error().message;
  }
}

TEST_F(SimulateTest, RefusesWhatCannotRun) {
  EXPECT_FALSE(simulate(deployment_, efficiency_, memory_, {}, {}).ok());
  memory_.total = memory_.weights();
  EXPECT_FALSE(simulate(deployment_, efficiency_, memory_, {}, {.max_batch = 1}).ok());
}

}  // namespace
}  // namespace ferry::plan
