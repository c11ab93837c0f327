// Speculation is exact: with guesses, answers are the same bit for bit, whatever they are sampled
// with, held to and computed beside. Where guesses are never right that would say nothing, so their
// number is looked at as well.
#include <gmock/gmock.h>

#include <algorithm>
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

struct Guesses {
  int64_t made = 0;
  int64_t right = 0;
};

Guesses guesses_of(const std::vector<Completion>& completions) {
  Guesses guesses;
  for (const Completion& completion : completions) {
    guesses.made += completion.finish.draft_tokens;
    guesses.right += completion.finish.accepted_tokens;
  }
  return guesses;
}

class Speculations : public ::testing::TestWithParam<Speculation> {};
INSTANTIATE_TEST_SUITE_P(Both, Speculations,
                         ::testing::Values(Speculation::kPromptLookup, Speculation::kMtp),
                         [](const ::testing::TestParamInfo<Speculation>& speculation) {
                           return speculation.param == Speculation::kMtp ? "Mtp" : "Lookup";
                         });

TEST_P(Speculations, NoAnswerChanges) {
  const std::vector<Request> requests = requests_of_all_kinds();
  const std::vector<Completion> expected = one_by_one(load_engine(demo_options()), requests);
  EXPECT_EQ(expected[5].finish.stop_string, "are. are");

  std::vector<EngineOptions> kinds(5, demo_options());
  for (EngineOptions& kind : kinds) kind.speculation = GetParam();
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
    for (const Completion& completion : completions) {
      EXPECT_EQ(completion.finish.completion_tokens, std::ssize(completion.tokens));
    }
    const Guesses guesses = guesses_of(completions);
    EXPECT_GT(guesses.right, kind == 2 ? 20 : 100) << "kind " << kind;
    EXPECT_GT(guesses.made, guesses.right) << "kind " << kind;  // wrong ones are thrown away
    const EngineStats stats = engine.stats();
    EXPECT_EQ(stats.num_preemptions > 0, kind == 3) << "kind " << kind;
    EXPECT_TRUE(kind != 0 || stats.prefix_hits_total > 0);
  }
}

TEST_P(Speculations, TakesFewerStepsAndCountsThem) {
  for (const std::string& backend : host_backends()) {
    Request request = greedy(question("one two three one two three one two three"), 100);
    request.stop.ignore_eos = true;
    request.sampling.logprobs = 0;
    EngineOptions options = demo_options();
    options.backend = backend;
    const Completion expected = complete(load_engine(options), request);
    EXPECT_EQ(expected.finish.draft_tokens, 0);
    options.speculation = GetParam();
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

// What the module keeps of a prompt lies in the pages that are shared: its guesses are as good
// behind a prompt that was there already, whose first answer had ended with its first token.
TEST(Speculation, ModuleReadsSharedPages) {
  EngineOptions options = demo_options();
  options.speculation = Speculation::kMtp;
  options.block_size = 4;
  const Request request = greedy(question("Sort these numbers: 41, 7, 93, 18, 66, 52, 30"), 60);
  const Completion alone = complete(load_engine(options), request);
  EXPECT_GT(alone.finish.accepted_tokens, 10);

  const Engine engine = load_engine(options);
  Request first = request;
  first.stop.max_tokens = 1;
  complete(engine, first);
  const Completion second = complete(engine, request);
  EXPECT_GT(second.finish.cached_prompt_tokens, 8);
  EXPECT_EQ(second.tokens, alone.tokens);
  EXPECT_EQ(second.finish.draft_tokens, alone.finish.draft_tokens);
  EXPECT_EQ(second.finish.accepted_tokens, alone.finish.accepted_tokens);
}

// A text to embed has no next token: the module leaves it out, and guesses for those beside it.
TEST(Speculation, ModuleLeavesEmbeddingsOut) {
  EngineOptions options = demo_options();
  const TextPrompt text{question("Count: one two three four five."), false, true};
  const Result<Embedding> expected = load_engine(options).embed(text, Pooling::kMean);
  ASSERT_TRUE(expected.ok());
  options.speculation = Speculation::kMtp;
  const Engine engine = load_engine(options);
  Request request = greedy(question("one two three one two three"), 60);
  request.stop.ignore_eos = true;
  Result<TokenStream> stream = engine.submit(request);
  ASSERT_TRUE(stream.ok());
  for (int i = 0; i < 3; ++i) {
    const Result<Embedding> embedding = engine.embed(text, Pooling::kMean);
    ASSERT_TRUE(embedding.ok());
    EXPECT_EQ(embedding->vector, expected->vector);
  }
  EXPECT_EQ(drain(*stream).tokens, complete(load_engine(demo_options()), request).tokens);
}

TEST(Speculation, OptionsHaveRanges) {
  EngineOptions options = demo_options();
  options.draft_tokens = 16;
  EXPECT_THAT(Engine::load(options).error().message, ::testing::HasSubstr("draft_tokens: 16"));
  options = demo_options();
  options.min_match = 0;
  EXPECT_THAT(Engine::load(options).error().message, ::testing::HasSubstr("min_match: 0"));
}

// That choose as testing::keep_choices() has it.
std::vector<Request> requests_of_few_tokens() {
  std::vector<Request> requests;
  for (int i = 0; i < 3; ++i) {
    Request request;
    request.prompt = testing::random_tokens(8 + 5 * i, 1000, 3 + i);
    request.sampling.temperature = 0;
    request.sampling.logprobs = 2;
    for (int32_t id = testing::kFirstChoice; id <= testing::kLastChoice; ++id) {
      request.sampling.logit_bias.push_back({id, 100.0f});
    }
    request.stop = {.strings = {}, .token_ids = {}, .ignore_eos = true, .max_tokens = 90};
    requests.push_back(std::move(request));
  }
  return requests;
}

void expect_no_change(EngineOptions options, Speculation speculation, const char* model) {
  const std::vector<Request> requests = requests_of_few_tokens();
  const std::vector<Completion> expected = one_by_one(load_engine(options), requests);
  options.speculation = speculation;
  options.min_match = 1;
  const Engine engine = load_engine(options);
  const std::vector<Completion> completions = together(engine, requests);
  for (size_t i = 0; i < requests.size(); ++i) expect_same_bits(expected[i], completions[i], i);
  const Guesses guesses = guesses_of(completions);
  EXPECT_GT(guesses.right, 10) << model;
  EXPECT_GT(guesses.made, guesses.right) << model;
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
    options.model = testing::write_with_tokenizer(dir, config, weights);
    expect_no_change(options, Speculation::kPromptLookup, model.name);
  }
}

// Random weights make random guesses. They are right now and then where there are few choices, to
// the module, which knows of no bias, as well.
TEST(Speculation, NoAnswerChangesWithAnyModule) {
  int num_with_module = 0;
  for (const testing::TinyModel& model : testing::tiny_models()) {
    disk::testing::TempDir dir;
    Json config = testing::parse(model.config);
    config["vocab_size"] = 1024;
    testing::TinyWeights weights = testing::random_weights(config, 11);
    testing::keep_choices(weights);
    EngineOptions options = demo_options();
    options.model = testing::write_with_tokenizer(dir, config, weights);
    if (config.contains("num_nextn_predict_layers")) {
      expect_no_change(options, Speculation::kMtp, model.name);
      ++num_with_module;
      continue;
    }
    options.speculation = Speculation::kMtp;
    const Result<Engine> engine = Engine::load(options);
    ASSERT_FALSE(engine.ok()) << model.name;
    EXPECT_EQ(engine.error().kind, ErrorKind::kUnsupported);
    EXPECT_THAT(engine.error().message, ::testing::HasSubstr("has no prediction module (MTP)"));
  }
  EXPECT_EQ(num_with_module, 3);
}

}  // namespace
}  // namespace ferry::engine
