// Speculation is exact: with guesses, answers are the same bit for bit, whatever they are sampled
// with, held to and computed beside. Where guesses are never right that would say nothing, so their
// number is looked at as well.
#include <gmock/gmock.h>

#include <filesystem>
#include <thread>

#include "engine/demo_engine.h"
#include "engine/testing.h"

namespace ferry::engine {
namespace {

// Answers that go on behind their end and so repeat themselves, with everything that looks at a
// token or remembers one.
std::vector<Request> requests_of_all_kinds() {
  std::vector<Request> requests;
  for (int i = 0; i < 9; ++i) {
    const std::string text = "Count: one two three four five one two three four five. Sort: " +
                             std::to_string(17 * i + 3) + ", 5, 41.";
    Request request = greedy(question(text, i % 2 == 0), 60 + 7 * i);
    request.stop.ignore_eos = true;
    request.sampling.logprobs = 3;
    request.sampling.seed = 100 + i;
    request.sampling.temperature = i % 3 == 1 ? 0.4 : 0.0;
    requests.push_back(std::move(request));
  }
  requests[2].sampling.repetition_penalty = 1.05;
  requests[3].sampling.frequency_penalty = 0.02;
  requests[3].sampling.presence_penalty = 0.1;
  requests[4].sampling.temperature = 0.8;
  requests[4].sampling.top_p = 0.7;
  requests[5].stop.strings = {"are. are"};
  requests[5].stop.min_tokens = 20;
  requests[6].stop.ignore_eos = false;
  requests[6].stop.min_tokens = 50;
  requests[7].prompt =
      ChatPrompt{.messages_json = R"([{"role": "user", "content": "one two one two one two"}])",
                 .tools_json = {},
                 .thinking = false,
                 .extra_json = {}};
  requests[7].constraint = Constraint{Constraint::kRegex, "((one|two|three|four) ){30}", {}};
  return requests;
}

TEST(Speculation, NoAnswerChanges) {
  const std::vector<Request> requests = requests_of_all_kinds();
  const std::vector<Completion> expected = one_by_one(load_engine(demo_options()), requests);
  EXPECT_EQ(expected[5].finish.stop_string, "are. are");

  std::vector<EngineOptions> kinds(5, demo_options());
  for (EngineOptions& kind : kinds) kind.speculation = Speculation::kPromptLookup;
  kinds[1].draft_tokens = 15;
  kinds[1].min_match = 1;
  kinds[1].threads = 2;
  kinds[2].draft_tokens = 1;
  kinds[2].max_sequences = 3;
  kinds[2].max_batch_tokens = 5;  // prompts in crumbs, guesses in what is left
  kinds[3].kv_tokens = 256;       // pages for one or two: the others wait or are thrown out
  kinds[3].block_size = 4;
  kinds[4].prefix_cache = false;
  kinds[4].block_size = 1;
  for (size_t kind = 0; kind < 5; ++kind) {
    const Engine engine = load_engine(kinds[kind]);
    const auto completions = kind == 0 ? one_by_one(engine, requests) : together(engine, requests);
    for (size_t i = 0; i < requests.size(); ++i) expect_same_bits(expected[i], completions[i], i);
    int64_t drafted = 0, accepted = 0;
    for (const Completion& completion : completions) {
      drafted += completion.finish.draft_tokens;
      accepted += completion.finish.accepted_tokens;
      EXPECT_EQ(completion.finish.completion_tokens, std::ssize(completion.tokens));
    }
    EXPECT_GT(accepted, kind == 2 ? 20 : 100) << "kind " << kind;
    EXPECT_GT(drafted, accepted) << "kind " << kind;  // wrong ones are there to be thrown away
    EXPECT_EQ(engine.stats().num_preemptions > 0, kind == 3) << "kind " << kind;
  }
}

TEST(Speculation, TakesFewerStepsAndCountsThem) {
  for (const std::string& backend : host_backends()) {
    Request request = greedy(question("one two three one two three one two three"), 100);
    request.stop.ignore_eos = true;
    request.sampling.logprobs = 0;
    EngineOptions options = demo_options();
    options.backend = backend;
    const Completion expected = complete(load_engine(options), request);
    EXPECT_EQ(expected.finish.draft_tokens, 0);
    options.speculation = Speculation::kPromptLookup;
    const Engine engine = load_engine(options);
    const Completion completion = complete(engine, request);
    expect_same_bits(expected, completion, 0);
    EngineStats stats = engine.stats();
    for (int i = 0; i < 1000 && stats.num_running > 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      stats = engine.stats();
    }
    EXPECT_EQ(stats.output_tokens_total, 100);
    EXPECT_EQ(stats.draft_tokens_total, completion.finish.draft_tokens);
    EXPECT_EQ(stats.accepted_tokens_total, completion.finish.accepted_tokens);
    EXPECT_EQ(stats.num_steps_total, 100 - stats.accepted_tokens_total);
    EXPECT_LT(stats.num_steps_total, 90);
    EXPECT_EQ(stats.kv_tokens_free, stats.kv_tokens);
  }
}

TEST(Speculation, OptionsHaveRanges) {
  EngineOptions options = demo_options();
  options.draft_tokens = 16;
  EXPECT_THAT(Engine::load(options).error().message, ::testing::HasSubstr("draft_tokens: 16"));
  options = demo_options();
  options.min_match = 0;
  EXPECT_THAT(Engine::load(options).error().message, ::testing::HasSubstr("min_match: 0"));
}

// Every architecture: what its caches hold of wrong guesses, an indexer's keys included, is never
// seen again. Few tokens to choose from make repetitions.
TEST(Speculation, NoAnswerChangesWithAnyArchitecture) {
  for (const testing::TinyModel& model : testing::tiny_models()) {
    disk::testing::TempDir dir;
    Json config = testing::parse(model.config);
    config["vocab_size"] = 1024;
    testing::TinyWeights weights = testing::random_weights(config, 11);
    EngineOptions options = demo_options();
    options.model = testing::write_hf(dir, config, testing::hf_tensors(weights));
    for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
      std::filesystem::copy_file(std::filesystem::path(FERRY_SOURCE_DIR "/demo") / name,
                                 std::filesystem::path(options.model) / name);
    }
    std::vector<Request> requests;
    for (int i = 0; i < 3; ++i) {
      Request request;
      request.prompt = testing::random_tokens(8 + 5 * i, 1000, 3 + i);
      request.sampling.temperature = 0;
      request.sampling.logprobs = 2;
      for (int32_t id = 20; id < 23; ++id) request.sampling.logit_bias.push_back({id, 100.0f});
      request.stop = {.strings = {}, .token_ids = {}, .ignore_eos = true, .max_tokens = 90};
      requests.push_back(std::move(request));
    }
    const std::vector<Completion> expected = one_by_one(load_engine(options), requests);
    options.speculation = Speculation::kPromptLookup;
    options.min_match = 1;
    const Engine engine = load_engine(options);
    const std::vector<Completion> completions = together(engine, requests);
    for (size_t i = 0; i < requests.size(); ++i) expect_same_bits(expected[i], completions[i], i);
    const EngineStats stats = engine.stats();
    EXPECT_GT(stats.accepted_tokens_total, 20) << model.name;
    EXPECT_GT(stats.draft_tokens_total, stats.accepted_tokens_total) << model.name;
  }
}

}  // namespace
}  // namespace ferry::engine
