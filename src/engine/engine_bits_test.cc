// The promise of include/ferry/ferry.h: what a request gets does not depend on its company, on
// threads, on how its prompt was cut or on being thrown out and computed again. Log-probabilities
// are compared bit for bit, and with them the logits they come from.
#include "engine/demo_engine.h"

namespace ferry::engine {
namespace {

// Sixteen requests of all kinds: lengths, seeds, filters, penalties. Two answers are long enough to
// meet in the cache however fast the machine is, and too long for a small one to hold both.
std::vector<Request> company() {
  std::vector<Request> requests;
  for (int i = 0; i < 16; ++i) {
    std::string text =
        "Please compute " + std::to_string(17 * i + 3) + " + " + std::to_string(311 - 9 * i) + ".";
    for (int k = 0; k < i % 5; ++k) text += " Count the letters of strawberry.";
    Request request = greedy(question(text, i % 2 == 0), i % 8 == 0 ? 140 : 12 + i % 7);
    request.sampling.temperature = i % 4 == 0 ? 0.0 : 1.5;
    request.sampling.seed = 1000 + i;
    request.sampling.logprobs = 5;
    if (i % 3 == 1) request.sampling.top_p = 0.9;
    if (i % 3 == 2) request.sampling.repetition_penalty = 1.2;
    request.stop.ignore_eos = true;
    requests.push_back(std::move(request));
  }
  return requests;
}

class EngineBits : public ::testing::TestWithParam<std::string> {
 protected:
  EngineOptions options() const {
    EngineOptions options = demo_options();
    options.backend = GetParam();
    return options;
  }
};

TEST_P(EngineBits, AloneAmongOthersThreadsChunksAndPreemption) {
  const std::vector<Request> requests = company();
  const std::vector<Completion> alone = one_by_one(load_engine(options()), requests);

  EngineOptions kinds[5] = {options(), options(), options(), options(), options()};
  kinds[0].weight_packing = WeightPacking::kAlways;
  kinds[1].threads = 2;
  kinds[2].max_batch_tokens = 16;  // prompts in small pieces between the others' tokens
  kinds[3].kv_tokens = 256;        // pages for a few of them: the others wait or are thrown out
  kinds[3].block_size = 8;
  kinds[4].weight_packing = WeightPacking::kNever;
  for (size_t kind = 0; kind < 5; ++kind) {
    const Engine engine = load_engine(kinds[kind]);
    const std::vector<Completion> completions = together(engine, requests);
    for (size_t i = 0; i < requests.size(); ++i) expect_same_bits(alone[i], completions[i], i);
    const EngineStats stats = engine.stats();
    EXPECT_EQ(stats.num_preemptions > 0, kind == 3) << "kind " << kind;
  }
}

// Beginnings that were computed before are taken from the cache, by whoever shares the scope, and
// nobody can tell from the answer.
TEST_P(EngineBits, WithAndWithoutThePrefixCache) {
  std::vector<Request> requests;
  for (int i = 0; i < 9; ++i) {
    std::string text = "Here are some words: strawberry, banana, Monday, seven, river and stone. ";
    if (i % 2 == 0) text += "And these: apple, pear and plum, on a Friday in the summer. ";
    text += "How many r are in " + std::string(i % 3 == 0 ? "strawberry" : "river") + "?";
    Request request = greedy(question(text), 16);
    request.sampling.temperature = i % 2;
    request.sampling.seed = i;
    request.sampling.logprobs = 3;
    requests.push_back(std::move(request));
  }
  EngineOptions without = options();
  without.prefix_cache = false;
  const std::vector<Completion> expected = one_by_one(load_engine(without), requests);
  const Engine engine = load_engine(options());
  int64_t hits = 0;
  for (const bool side_by_side : {false, true}) {
    const auto completions =
        side_by_side ? together(engine, requests) : one_by_one(engine, requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(expected[i].finish.cached_prompt_tokens, 0);
      expect_same_bits(expected[i], completions[i], i);
      const Finish& finish = completions[i].finish;
      EXPECT_LT(finish.cached_prompt_tokens, finish.prompt_tokens);
      EXPECT_EQ(finish.cached_prompt_tokens % 16, 0);
      if (side_by_side || i > 1) {
        EXPECT_GE(finish.cached_prompt_tokens, 16) << i;
      }
      hits += finish.cached_prompt_tokens;
    }
  }
  EXPECT_EQ(engine.stats().prefix_hits_total, hits);
  Request foreign = requests[0];
  foreign.cache_scope = "somebody else";
  const Completion alone = complete(engine, foreign);
  EXPECT_EQ(alone.finish.cached_prompt_tokens, 0);
  expect_same_bits(expected[0], alone, 0);
  EXPECT_GT(complete(engine, foreign).finish.cached_prompt_tokens, 0);
}

// The narrow caches have kernels of their own.
TEST(EngineBitsOfTheCache, AloneAmongOthersAndPreemption) {
  const std::vector<Request> requests = company();
  for (KvDtype dtype : {KvDtype::kBF16, KvDtype::kInt8}) {
    EngineOptions options = demo_options();
    options.kv_dtype = dtype;
    const std::vector<Completion> alone = one_by_one(load_engine(options), requests);
    options.threads = 2;
    options.max_batch_tokens = 16;
    options.kv_tokens = 256;
    options.block_size = 8;
    const Engine engine = load_engine(options);
    const std::vector<Completion> completions = together(engine, requests);
    for (size_t i = 0; i < requests.size(); ++i) expect_same_bits(alone[i], completions[i], i);
    EXPECT_GT(engine.stats().num_preemptions, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, EngineBits, ::testing::ValuesIn(host_backends()),
                         [](const auto& backend) { return backend.param; });

}  // namespace
}  // namespace ferry::engine
