// The parts of `ferry bench serve` that need no server: reading event streams, planning prompts and
// arrivals, traces, objectives and percentiles.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <sstream>

#include "cmd/load_client.h"
#include "cmd/load_plan.h"
#include "cmd/load_report.h"

namespace ferry::cmd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> events_of(std::string_view stream, size_t step) {
  EventReader reader;
  std::vector<std::string> events;
  for (size_t i = 0; i < stream.size(); i += step) {
    const Status status = reader.push(stream.substr(i, step),
                                      [&](std::string_view data) { events.emplace_back(data); });
    EXPECT_TRUE(status.ok());
  }
  return events;
}

TEST(EventReader, GivesTheSameEventsHoweverTheBytesAreCut) {
  const std::string_view stream =
      ": keep-alive\n\nevent: x\r\ndata: {\"a\":1}\r\n\r\ndata: one\ndata: two\n\n"
      "data:tight\n\nid: 3\n\ndata\n\ndata: cut off";
  for (size_t step = 1; step <= stream.size(); ++step) {
    EXPECT_THAT(events_of(stream, step), ElementsAre("{\"a\":1}", "one\ntwo", "tight")) << step;
  }
}

TEST(EventReader, RefusesAnEventWithoutEnd) {
  EventReader reader;
  const std::string flood(1 << 20, 'x');
  const auto ignore = [](std::string_view) {};
  EXPECT_TRUE(reader.push("data: ", ignore).ok());
  const Status status = reader.push(flood, ignore);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("1048576"));
}

TEST(TakeEvent, CountsPiecesWithTextAndNothingElse) {
  LoadAnswer answer;
  EXPECT_TRUE(
      take_event(answer, R"({"choices":[{"delta":{"role":"assistant","content":""}}]})", 1));
  EXPECT_EQ(answer.pieces, 0);
  EXPECT_TRUE(take_event(answer, R"({"choices":[{"delta":{"reasoning_content":"hm"}}]})", 2));
  EXPECT_TRUE(take_event(answer, R"({"choices":[{"delta":{"content":"a"}}],"usage":null})", 3));
  EXPECT_TRUE(take_event(answer, R"({"choices":[{"text":"b"}]})", 5));
  EXPECT_TRUE(
      take_event(answer, R"({"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}})", 6));
  EXPECT_FALSE(take_event(answer, "[DONE]", 7));
  EXPECT_EQ(answer.pieces, 3);
  EXPECT_EQ(answer.first_s, 2);
  EXPECT_EQ(answer.last_s, 5);
  EXPECT_THAT(answer.gaps_s, ElementsAre(1, 2));
  EXPECT_EQ(answer.prompt_tokens, 7);
  EXPECT_EQ(answer.output_tokens(), 9);
  EXPECT_EQ(answer.failure, "");
}

TEST(TakeEvent, KeepsWhatWentWrong) {
  for (const auto& [event, failure] :
       {std::pair{"{\"error\":{\"message\":\"too hot\"}}", "error event: too hot"},
        std::pair{"{\"error\":\"plain\"}", "error event: plain"},
        std::pair{"{nonsense", "an event that is no JSON"}}) {
    LoadAnswer answer;
    EXPECT_TRUE(take_event(answer, event, 1));
    EXPECT_EQ(answer.failure, failure);
  }
  for (const char* odd :
       {"3", "null", "[]", "{\"choices\":{}}", "{\"choices\":[4]}", "{\"choices\":[{\"delta\":5}]}",
        "{\"usage\":{\"prompt_tokens\":\"x\"}}"}) {
    LoadAnswer answer;
    EXPECT_TRUE(take_event(answer, odd, 1));
    EXPECT_EQ(answer.pieces, 0);
  }
}

TEST(WordRate, FollowsTheTokenizerOfTheServer) {
  const WordRate rate = WordRate::from_probes(16, 29, 80, 125);  // 5 + 1.5 per word
  EXPECT_EQ(rate.words_for(155), 100);
  EXPECT_EQ(rate.words_for(3), 1);
  EXPECT_EQ(WordRate::from_probes(16, 0, 80, 0).words_for(64), 64);  // a server that does not count
}

int64_t words_in(const std::string& text) {
  std::istringstream words(text);
  int64_t count = 0;
  for (std::string word; words >> word;) ++count;
  return count;
}

TEST(MakePrompt, SharesOnlyThePrefix) {
  const std::string a = make_prompt(1, 0, 50, 20), b = make_prompt(1, 1, 50, 20);
  EXPECT_EQ(words_in(a), 50);
  EXPECT_EQ(a, make_prompt(1, 0, 50, 20));
  const std::string prefix = make_prompt(1, 7, 20, 20);
  EXPECT_TRUE(a.starts_with(prefix) && b.starts_with(prefix));
  EXPECT_NE(a, b);
  EXPECT_NE(make_prompt(2, 0, 20, 20), prefix);
  std::set<std::string> all;
  for (uint64_t i = 0; i < 100; ++i) all.insert(make_prompt(3, i, 8, 0));
  EXPECT_EQ(all.size(), 100u);
}

TEST(ArriveAtRandom, IsAPoissonProcessOfTheRate) {
  std::vector<LoadItem> items(20000);
  arrive_at_random(items, 50, 4);
  EXPECT_EQ(items[0].due_s, 0);
  double gaps = 0, squares = 0;
  for (size_t i = 1; i < items.size(); ++i) {
    const double gap = items[i].due_s - items[i - 1].due_s;
    ASSERT_GE(gap, 0);
    gaps += gap;
    squares += gap * gap;
  }
  const double mean = gaps / 19999;
  EXPECT_NEAR(mean, 0.02, 0.001);
  EXPECT_NEAR(std::sqrt(squares / 19999 - mean * mean), mean, 0.002);  // exponential gaps
  std::vector<LoadItem> again(20000);
  arrive_at_random(again, 50, 4);
  EXPECT_EQ(again.back().due_s, items.back().due_s);
}

TEST(ParseTrace, ReadsLinesAndNamesBadOnes) {
  const auto trace = parse_trace(
      "{\"timestamp\": 1000, \"input_length\": 12, \"output_length\": 3, \"hash_ids\": [1]}\n\n"
      "{\"timestamp\": 2500.5, \"input_length\": 9, \"output_length\": 1}",
      "t.jsonl");
  ASSERT_TRUE(trace.ok());
  ASSERT_EQ(trace->size(), 2u);
  EXPECT_EQ((*trace)[0].due_s, 0);
  EXPECT_NEAR((*trace)[1].due_s, 1.5005, 1e-9);
  EXPECT_EQ((*trace)[1].input_tokens, 9);
  const std::string good = "{\"timestamp\": 5, \"input_length\": 1, \"output_length\": 1}\n";
  for (const auto& [bad, word] :
       {std::pair{"nonsense", "JSON"}, std::pair{"[1]", "an array"},
        std::pair{"{\"timestamp\": 6, \"input_length\": 1}", "output_length"},
        std::pair{"{\"timestamp\": 6, \"input_length\": 0, \"output_length\": 1}", "input_length"},
        std::pair{"{\"timestamp\": 4, \"input_length\": 1, \"output_length\": 1}", "go back"}}) {
    const auto result = parse_trace(good + bad, "t.jsonl");
    ASSERT_FALSE(result.ok()) << bad;
    EXPECT_THAT(result.error().message, HasSubstr("t.jsonl: line 2"));
    EXPECT_THAT(result.error().message, HasSubstr(word));
  }
  EXPECT_FALSE(parse_trace("\n \n", "t.jsonl").ok());
}

TEST(ParseObjectives, KnowsUnits) {
  const auto objectives = parse_objectives("ttft=500,tpot=0.05s,e2e=9000ms");
  ASSERT_TRUE(objectives.ok());
  EXPECT_NEAR(*objectives->ttft_s, 0.5, 1e-12);
  EXPECT_NEAR(*objectives->tpot_s, 0.05, 1e-12);
  EXPECT_NEAR(*objectives->e2e_s, 9, 1e-12);
  EXPECT_FALSE(parse_objectives("")->any());
  for (const char* bad :
       {"ttft", "ttft=", "ttft=fast", "ttft=5h", "ttft=-1", "itl=5", "ttft=nan"}) {
    const auto refused = parse_objectives(bad);
    ASSERT_FALSE(refused.ok()) << bad;
    EXPECT_THAT(refused.error().message, HasSubstr("--slo")) << bad;
  }
}

TEST(Percentile, LiesBetweenNeighbours) {
  const std::vector<double> values = {1, 2, 3, 4, 5};
  EXPECT_EQ(percentile(values, 0), 1);
  EXPECT_EQ(percentile(values, 50), 3);
  EXPECT_DOUBLE_EQ(percentile(values, 90), 4.6);
  EXPECT_EQ(percentile(values, 100), 5);
  EXPECT_EQ(percentile({7}, 99), 7);
}

// Two good answers of 3 and 5 tokens, one failure, one that was still running.
TEST(LoadReport, AddsUp) {
  LoadRun run;
  run.seconds = 2;
  run.concurrency = 4;
  run.answers.resize(4);
  run.answers[0] = {.ended = true,
                    .sent_s = 0,
                    .first_s = 0.1,
                    .last_s = 0.3,
                    .end_s = 0.4,
                    .gaps_s = {0.1, 0.1},
                    .pieces = 3,
                    .prompt_tokens = 10,
                    .completion_tokens = 3};
  run.answers[1] = {.ended = true,
                    .sent_s = 1,
                    .first_s = 1.5,
                    .last_s = 1.9,
                    .end_s = 1.9,
                    .gaps_s = {0.4},
                    .pieces = 2,
                    .prompt_tokens = 20,
                    .completion_tokens = 5};
  run.answers[2] = {.ended = true, .failure = "HTTP 429: busy"};
  const Json out = load_json(run, *parse_objectives("ttft=200"));
  EXPECT_EQ(out["good"], 2);
  EXPECT_EQ(out["failed"], 1);
  EXPECT_EQ(out["unfinished"], 1);
  EXPECT_EQ(out["failures"]["HTTP 429: busy"], 1);
  EXPECT_EQ(out["requests_per_s"], 1.0);
  EXPECT_EQ(out["output_tokens_per_s"], 4.0);
  EXPECT_EQ(out["input_tokens_per_s"], 15.0);
  EXPECT_EQ(out["goodput_requests_per_s"], 0.5);
  EXPECT_NEAR(out["ttft_ms"]["p50"].get<double>(), 300, 1e-9);
  EXPECT_NEAR(out["tpot_ms"]["max"].get<double>(), 100, 1e-9);
  EXPECT_EQ(out["itl_ms"]["count"], 3);
  EXPECT_TRUE(load_json(run, {})["goodput_requests_per_s"].is_null());
}

}  // namespace
}  // namespace ferry::cmd
