// Vectors of texts: what they are of, and that nothing but the text has a part in them.
#include "engine/demo_engine.h"

namespace ferry::engine {
namespace {

std::vector<float> embed(const Engine& engine, const Prompt& prompt, Pooling pooling) {
  const Result<Embedding> embedding = engine.embed(prompt, pooling);
  if (!embedding.ok()) {
    ADD_FAILURE() << embedding.error().message;
    return {};
  }
  return embedding->vector;
}

class Embeddings : public ::testing::TestWithParam<std::string> {
 protected:
  EngineOptions options() const {
    EngineOptions options = demo_options();
    options.backend = GetParam();
    return options;
  }
};

TEST_P(Embeddings, AMeanIsThatOfTheLastStatesOfAllBeginnings) {
  const Engine engine = load_engine(options());
  const std::vector<int32_t> tokens = {0, 970, 3, 479, 120};
  std::vector<double> sum(static_cast<size_t>(engine.info().hidden_size), 0);
  for (size_t count = 1; count <= tokens.size(); ++count) {
    const std::vector<int32_t> beginning(tokens.begin(),
                                         tokens.begin() + static_cast<ptrdiff_t>(count));
    const auto last = embed(engine, beginning, Pooling::kLast);
    ASSERT_EQ(last.size(), sum.size());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += last[i];
  }
  const auto mean = embed(engine, tokens, Pooling::kMean);
  ASSERT_EQ(mean.size(), sum.size());
  for (size_t i = 0; i < sum.size(); ++i) EXPECT_NEAR(mean[i], sum[i] / 5, 1e-5);
}

TEST_P(Embeddings, CompanyCutsAndMemoryChangeNothing) {
  std::vector<std::string> texts;
  for (int i = 0; i < 8; ++i) {
    std::string text = "Text " + std::to_string(i);
    for (int k = 0; k < i; ++k) text += " about strawberry and banana";
    texts.push_back(text);
  }
  const auto request = [&](size_t i) {
    Request embedding;
    embedding.prompt = TextPrompt{texts[i]};
    embedding.embed = i % 2 == 0 ? Pooling::kMean : Pooling::kLast;
    return embedding;
  };
  const Engine whole = load_engine(options());
  EngineOptions small = options();
  small.max_batch_tokens = 16;
  small.kv_tokens = 256;
  small.block_size = 8;
  const Engine cut = load_engine(small);
  Request talk = greedy(question("What is 347 + 589?"), 100);
  talk.stop.ignore_eos = true;
  const Completion alone = complete(whole, talk);
  std::vector<TokenStream> streams;
  Result<TokenStream> talking = cut.submit(talk);
  ASSERT_TRUE(talking.ok());
  for (size_t i = 0; i < texts.size(); ++i) {
    Result<TokenStream> stream = cut.submit(request(i));
    ASSERT_TRUE(stream.ok());
    streams.push_back(std::move(stream).value());
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    std::vector<float> vector;
    while (std::optional<StreamEvent> event = streams[i].next()) {
      EXPECT_TRUE(event->text.empty() && event->tokens.empty());
      vector = event->embedding;
      ASSERT_TRUE(event->finish.has_value());
      EXPECT_EQ(event->finish->reason, FinishReason::kStop);
      EXPECT_EQ(event->finish->completion_tokens, 0);
    }
    EXPECT_EQ(vector, embed(whole, TextPrompt{texts[i]}, *request(i).embed)) << i;
  }
  EXPECT_EQ(drain(*talking).tokens, alone.tokens);
}

TEST_P(Embeddings, ThePromptMayFillTheContextButNotMore) {
  const Engine engine = load_engine(options());
  std::vector<int32_t> tokens(static_cast<size_t>(engine.info().max_context), 970);
  EXPECT_EQ(embed(engine, tokens, Pooling::kMean).size(), 256u);
  tokens.push_back(970);
  const Result<Embedding> refused = engine.embed(tokens, Pooling::kMean);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message.rfind("prompt: 257 tokens; the context", 0), 0u);
  EXPECT_FALSE(engine.embed(std::vector<int32_t>{}, Pooling::kLast).ok());
}

INSTANTIATE_TEST_SUITE_P(Backends, Embeddings, ::testing::ValuesIn(host_backends()),
                         [](const auto& backend) { return backend.param; });

}  // namespace
}  // namespace ferry::engine
