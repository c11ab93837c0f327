// A model with windows in the whole engine, where pages of recent tokens are let go: waiting, being
// thrown out, sharing beginnings and wrong guesses change no bit of an answer.
#include <gmock/gmock.h>

#include <string>
#include <string_view>
#include <vector>

#include "engine/demo_engine.h"
#include "engine/scheduler.h"
#include "engine/testing.h"

namespace ferry::engine {
namespace {

// Some begin alike, one lets the others wait.
std::vector<Request> requests_that_share() {
  std::vector<Request> requests;
  const std::vector<int32_t> beginning = testing::random_tokens(70, 1000, 1);
  for (int i = 0; i < 7; ++i) {
    std::vector<int32_t> prompt(beginning.begin(), beginning.begin() + (i % 2 == 0 ? 70 : 33));
    for (const int32_t token : testing::random_tokens(9 * i, 1000, 2 + i)) prompt.push_back(token);
    Request request;
    request.prompt = std::move(prompt);
    request.sampling.temperature = 0;
    request.sampling.logprobs = 2;
    for (int32_t id = testing::kFirstChoice; id <= testing::kLastChoice; ++id) {
      request.sampling.logit_bias.push_back({id, 100.0f});
    }
    request.stop = {.strings = {}, .token_ids = {}, .ignore_eos = true, .max_tokens = 40 + 11 * i};
    requests.push_back(std::move(request));
  }
  return requests;
}

class WindowPages : public ::testing::Test {
 protected:
  WindowPages() {
    for (const testing::TinyModel& tiny : testing::tiny_models()) {
      if (std::string_view(tiny.name) != "deepseek_v4") continue;
      Json config = testing::parse(tiny.config);
      config["vocab_size"] = 1024;
      testing::TinyWeights weights = testing::random_weights(config, 7);
      testing::keep_choices(weights);
      options_ = demo_options();
      options_.model = testing::write_with_tokenizer(dir_, config, weights);
    }
    options_.notice = [this](const std::string& text) { notice_ = text; };
  }

  disk::testing::TempDir dir_;
  EngineOptions options_;
  std::string notice_;
};

TEST_F(WindowPages, NoAnswerChanges) {
  const std::vector<Request> requests = requests_that_share();
  EngineOptions plain = options_;
  plain.prefix_cache = false;
  plain.max_sequences = 1;
  const std::vector<Completion> expected = one_by_one(load_engine(plain), requests);
  // So few tokens take less in the others' pages.
  EXPECT_THAT(notice_, ::testing::Not(::testing::HasSubstr("for windows")));

  EngineOptions small = options_;
  small.block_size = 2;
  small.max_batch_tokens = 6;
  small.max_sequences = 3;
  small.kv_tokens = 262;  // two of the long ones do not fit
  for (const Speculation speculation :
       {Speculation::kOff, Speculation::kPromptLookup, Speculation::kMtp}) {
    EngineOptions kind = small;
    kind.speculation = speculation;
    kind.min_match = 1;
    const Engine engine = load_engine(kind);
    EXPECT_THAT(notice_, ::testing::HasSubstr("for windows"));
    for (int round = 0; round < 2; ++round) {
      const std::vector<Completion> completions = together(engine, requests);
      for (size_t i = 0; i < requests.size(); ++i) expect_same_bits(expected[i], completions[i], i);
    }
    const EngineStats stats = engine.stats();
    EXPECT_GT(stats.num_preemptions, 0);
    EXPECT_GT(stats.prefix_hits_total, 100);
    EXPECT_EQ(stats.accepted_tokens_total > 20, speculation != Speculation::kOff);
    EXPECT_GE(stats.draft_tokens_total, stats.accepted_tokens_total);
  }
}

// A million tokens take as many pages of recent tokens as a few do, and who begins alike goes on
// where the windows are still there.
TEST(SchedulerWindows, LetOldPagesGo) {
  constexpr int64_t kBlock = 16, kRecent = 128, kStep = 512;
  constexpr int64_t kPages = 2 * (kRecent / kBlock + 3 + kStep / kBlock);
  Scheduler scheduler({.block_size = kBlock,
                       .num_pages = 70'000,
                       .max_batch_tokens = kStep,
                       .max_sequences = 1,
                       .recent_tokens = kRecent,
                       .num_recent_pages = kPages});
  constexpr int64_t kMostTokens = 1'000'000;
  std::vector<BlockKey> keys;
  for (uint64_t i = 0; i < kMostTokens / kBlock; ++i) keys.push_back({i, 1});
  scheduler.add(1, kMostTokens, kMostTokens + 10, 0, keys);
  for (int64_t done = 0; done < kMostTokens;) {
    const Schedule schedule = scheduler.next();
    ASSERT_EQ(schedule.chunks.size(), 1u);
    EXPECT_LE(kPages - scheduler.stats().num_free_recent_pages, (kRecent + kStep) / kBlock + 2);
    done += schedule.num_tokens;
    scheduler.computed(schedule);
  }
  scheduler.remove(1);
  scheduler.add(2, kMostTokens, kMostTokens + 10, 0, keys);
  Schedule schedule = scheduler.next();
  EXPECT_EQ(schedule.chunks[0].begin, kMostTokens - kBlock);
  scheduler.computed(schedule);
  scheduler.remove(2);
  // Half of it is known as well, but what its window held is long forgotten.
  keys.resize(kMostTokens / kBlock / 2);
  scheduler.add(3, kMostTokens / 2, kMostTokens, 0, keys);
  schedule = scheduler.next();
  EXPECT_EQ(schedule.chunks[0].begin, 0);
}

}  // namespace
}  // namespace ferry::engine
