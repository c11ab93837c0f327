// The public API over the built-in model: answers, ends, errors, cancelling, lifetimes.
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>

#include "base/json.h"
#include "engine/demo_engine.h"

namespace ferry::engine {
namespace {

// One engine for all tests that do not need their own.
const Engine& shared_engine() {
  static const Engine engine = load_engine(demo_options());
  return engine;
}

void expect_refused(const Request& request, const std::string& beginning) {
  Result<TokenStream> stream = shared_engine().submit(request);
  ASSERT_FALSE(stream.ok()) << beginning;
  EXPECT_EQ(stream.error().kind, ErrorKind::kInvalidInput);
  EXPECT_EQ(stream.error().message.rfind(beginning, 0), 0u) << stream.error().message;
}

TEST(Engine, GreedyAnswersAreThoseOfTheGoldens) {
  std::ifstream file(FERRY_SOURCE_DIR "/demo/goldens/greedy.json");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const Result<Json> goldens = parse_json(text);
  ASSERT_TRUE(goldens.ok());
  for (const Json& golden : *goldens) {
    Request request = greedy(golden["prompt"], 0);
    const Completion completion = complete(shared_engine(), request);
    EXPECT_EQ(completion.tokens, golden["output_ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(completion.text, golden["output"].get<std::string>());
    EXPECT_EQ(completion.finish.reason, FinishReason::kStop);
    EXPECT_EQ(completion.finish.prompt_tokens, static_cast<int64_t>(golden["ids"].size()));
    EXPECT_EQ(completion.finish.completion_tokens,
              static_cast<int64_t>(golden["output_ids"].size()));

    request.prompt = golden["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(complete(shared_engine(), request).text, golden["output"].get<std::string>());
  }
}

TEST(Engine, ChatsSeparateReasoningFromAnswer) {
  Request request = greedy("", 0);
  ChatPrompt chat;
  chat.messages_json = R"([{"role": "user", "content": "How many r are in strawberry?"}])";
  chat.thinking = true;
  request.prompt = chat;
  Completion completion = complete(shared_engine(), request);
  EXPECT_EQ(completion.reasoning, "strawberry: s t r(1) a w b e r(2) r(3) y. So 3.");
  EXPECT_EQ(completion.text, "The answer is 3.");
  EXPECT_EQ(completion.finish.reasoning_tokens, 32);  // </think> is the last of them
  const Result<std::string> rendered = shared_engine().render_chat(chat);
  ASSERT_TRUE(rendered.ok());
  EXPECT_EQ(*rendered, question("How many r are in strawberry?"));

  chat.messages_json = R"([{"role": "user", "content": "Hello!"}])";
  chat.thinking = false;
  request.prompt = chat;
  completion = complete(shared_engine(), request);
  EXPECT_EQ(completion.reasoning, "");
  EXPECT_EQ(completion.text, "Hello! How can I help you?");
  EXPECT_EQ(completion.finish.reasoning_tokens, 0);
}

constexpr const char* kCalculator = R"([{"type": "function", "function": {
    "name": "calculator", "description": "Evaluate an arithmetic expression.", "parameters":
    {"type": "object", "properties": {"expression": {"type": "string"}},
     "required": ["expression"]}}}])";

TEST(Engine, CallsOfToolsComeApartFromTheText) {
  Request request = greedy("", 0);
  ChatPrompt chat;
  chat.messages_json = R"([{"role": "user", "content": "What is 7905 plus 3619?"}])";
  chat.tools_json = kCalculator;
  chat.thinking = false;
  request.prompt = chat;
  Completion completion = complete(shared_engine(), request);
  EXPECT_EQ(completion.text, "");
  ASSERT_EQ(completion.tool_calls.size(), 1u);
  EXPECT_EQ(completion.tool_calls[0].name, "calculator");
  EXPECT_EQ(completion.tool_calls[0].arguments, R"({"expression": "7905+3619"})");
  EXPECT_EQ(completion.tool_calls[0].id.rfind("call_", 0), 0u);
  EXPECT_EQ(completion.finish.reason, FinishReason::kToolCalls);

  request.parallel_tool_calls = false;
  completion = complete(shared_engine(), request);
  EXPECT_EQ(completion.tool_calls.size(), 1u);
  EXPECT_EQ(completion.finish.reason, FinishReason::kToolCalls);

  // Cut off, it is no call that could be answered.
  request.stop.max_tokens = completion.finish.completion_tokens - 3;
  completion = complete(shared_engine(), request);
  EXPECT_EQ(completion.tool_calls.size(), 1u);
  EXPECT_EQ(completion.finish.reason, FinishReason::kLength);

  request = greedy("", 0);
  request.prompt = chat;
  request.tool_choice.kind = ToolChoice::kNone;  // as if there were none
  completion = complete(shared_engine(), request);
  EXPECT_TRUE(completion.tool_calls.empty());
  EXPECT_EQ(completion.finish.reason, FinishReason::kStop);
}

TEST(Engine, ResultsOfToolsAreAnswered) {
  Request request = greedy("", 0);
  ChatPrompt chat;
  chat.messages_json = R"json([{"role": "user", "content": "Calculate 7320 + 3430."},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
       "function": {"name": "calculator", "arguments": "{\"expression\": \"7320+3430\"}"}}]},
      {"role": "tool", "tool_call_id": "call_1", "content": "10750"}])json";
  chat.tools_json = kCalculator;
  chat.thinking = false;
  request.prompt = chat;
  const Completion completion = complete(shared_engine(), request);
  EXPECT_EQ(completion.text, "The answer is 10750.");
  EXPECT_TRUE(completion.tool_calls.empty());
  EXPECT_EQ(completion.finish.reason, FinishReason::kStop);
}

TEST(Engine, WrongChatsAreRefusedByField) {
  const auto refused = [](ChatPrompt chat, const std::string& beginning) {
    Request request = greedy("", 1);
    request.prompt = std::move(chat);
    expect_refused(request, beginning);
  };
  refused({}, "messages: ");
  refused({.messages_json = "[", .tools_json = {}, .thinking = {}, .extra_json = {}}, "messages: ");
  refused({.messages_json = "{}", .tools_json = {}, .thinking = {}, .extra_json = {}},
          "messages: expected an array, found an object");
  const std::string hello = R"([{"role": "user", "content": "Hello!"}])";
  refused({.messages_json = hello, .tools_json = "3", .thinking = {}, .extra_json = {}}, "tools: ");
  refused({.messages_json = hello, .tools_json = {}, .thinking = {}, .extra_json = "[]"},
          "extra: ");
}

TEST(Engine, EndsByLengthStopStringAndStopToken) {
  const std::string prompt = question("Hello!", false);  // "Hello! How can I help you?"
  const Engine& engine = shared_engine();
  Request request = greedy(prompt, 3);
  Completion completion = complete(engine, request);
  EXPECT_EQ(completion.finish.reason, FinishReason::kLength);
  EXPECT_EQ(completion.tokens.size(), 3u);
  EXPECT_EQ(completion.text, "Hello! How");

  request = greedy(prompt, 0);
  request.stop.strings = {"never", "can I"};  // spread over two tokens
  completion = complete(engine, request);
  EXPECT_EQ(completion.finish.reason, FinishReason::kStop);
  EXPECT_EQ(completion.finish.stop_string, "can I");
  EXPECT_EQ(completion.text, "Hello! How ");

  request = greedy(prompt, 0);
  request.stop.token_ids = {479};  // " How"
  completion = complete(engine, request);
  EXPECT_EQ(completion.finish.reason, FinishReason::kStop);
  EXPECT_EQ(completion.text, "Hello!");
  EXPECT_EQ(completion.tokens, (std::vector<int32_t>{970, 3, 479}));
}

TEST(Engine, MinTokensAndIgnoreEosGoOn) {
  Request request = greedy(question("Hello!", false), 20);
  request.stop.min_tokens = 15;
  Completion completion = complete(shared_engine(), request);
  EXPECT_GE(completion.tokens.size(), 15u);
  for (size_t i = 0; i < 14; ++i) EXPECT_NE(completion.tokens[i], 1);
  request.stop.min_tokens = 0;
  request.stop.ignore_eos = true;
  completion = complete(shared_engine(), request);
  EXPECT_EQ(completion.finish.reason, FinishReason::kLength);
  EXPECT_EQ(completion.tokens.size(), 20u);
  EXPECT_EQ(completion.tokens[8], 1);
}

TEST(Engine, TheContextEndsAnAnswer) {
  Request request = greedy(question("Hello!", false), 0);
  request.stop.ignore_eos = true;
  const Completion completion = complete(shared_engine(), request);
  EXPECT_EQ(completion.finish.reason, FinishReason::kLength);
  EXPECT_EQ(completion.finish.prompt_tokens + completion.finish.completion_tokens,
            shared_engine().info().max_context);
}

TEST(Engine, OneSeedOneTextAndTheSeedIsReported) {
  Request request = greedy(question("Tell me something."), 24);
  request.sampling.temperature = 2.0;
  const Completion first = complete(shared_engine(), request);
  const Completion second = complete(shared_engine(), request);
  EXPECT_NE(first.finish.seed, second.finish.seed);
  request.sampling.seed = first.finish.seed;
  const Completion again = complete(shared_engine(), request);
  EXPECT_EQ(again.tokens, first.tokens);
  EXPECT_EQ(again.finish.seed, first.finish.seed);
}

TEST(Engine, WrongRequestsAreRefusedByField) {
  const std::string prompt = question("Hello!");
  Request request = greedy(prompt, 1);
  request.sampling.top_p = 2;
  expect_refused(request, "top_p:");
  request = greedy(prompt, -1);
  expect_refused(request, "max_tokens:");
  request = greedy(prompt, 1);
  request.stop.strings = {""};
  expect_refused(request, "stop:");
  expect_refused(greedy("", 1), "prompt:");
  request.stop.strings.clear();
  request.prompt = std::vector<int32_t>{0, 5000};
  expect_refused(request, "prompt: token 1 is 5000");
  request.prompt = std::vector<int32_t>(256, 0);
  expect_refused(request, "prompt: 256 tokens; the context of 256 tokens");
  request.prompt = std::vector<int32_t>(255, 0);
  EXPECT_EQ(complete(shared_engine(), request).tokens.size(), 1u);
}

TEST(Engine, WrongOptionsAreRefused) {
  const auto message = [](const EngineOptions& options) {
    const Result<Engine> engine = Engine::load(options);
    EXPECT_FALSE(engine.ok());
    return engine.ok() ? std::string() : engine.error().message;
  };
  EngineOptions options = demo_options();
  options.block_size = 0;
  EXPECT_EQ(message(options).rfind("block_size:", 0), 0u);
  options = demo_options();
  options.max_batch_tokens = 3;
  EXPECT_EQ(message(options).rfind("max_batch_tokens:", 0), 0u);
  options = demo_options();
  options.kv_tokens = 100;
  EXPECT_EQ(message(options).rfind("kv_tokens:", 0), 0u);
  options = demo_options();
  options.backend = "abacus";
  EXPECT_NE(message(options).find("abacus"), std::string::npos);
  options = demo_options();
  options.model = "/no/such/model";
  EXPECT_NE(message(options).find("/no/such/model"), std::string::npos);
  options = demo_options();
  options.kv_tokens = 1 << 30;
  options.block_size = 1024;
  const Result<Engine> engine = Engine::load(options);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().kind, ErrorKind::kOutOfMemory) << engine.error().message;
}

TEST(Engine, CancelEndsOneAndLeavesTheOthers) {
  const Engine engine = load_engine(demo_options());
  const int64_t all_free = engine.stats().kv_tokens_free;
  Request long_one = greedy(question("What is 347 + 589?"), 0);
  long_one.stop.ignore_eos = true;
  const Completion expected = complete(engine, long_one);
  Result<TokenStream> kept = engine.submit(long_one);
  Result<TokenStream> cancelled = engine.submit(long_one);
  ASSERT_TRUE(kept.ok() && cancelled.ok());
  std::optional<StreamEvent> event = cancelled->next();
  ASSERT_TRUE(event.has_value());
  EXPECT_FALSE(cancelled->finished());
  cancelled->cancel();
  const Completion rest = drain(*cancelled);
  EXPECT_TRUE(cancelled->finished());
  EXPECT_FALSE(cancelled->next().has_value());
  EXPECT_EQ(rest.finish.reason, FinishReason::kCancelled);
  EXPECT_LT(rest.finish.completion_tokens, expected.finish.completion_tokens);
  EXPECT_EQ(drain(*kept).tokens, expected.tokens);
  {
    Result<TokenStream> dropped = engine.submit(long_one);  // destroyed at once
    ASSERT_TRUE(dropped.ok());
  }
  for (int i = 0; i < 1000 && engine.stats().kv_tokens_free != all_free; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(engine.stats().kv_tokens_free, all_free);
  EXPECT_EQ(engine.stats().num_running, 0);
}

TEST(Engine, StreamsOutliveTheirEngine) {
  std::vector<TokenStream> streams;
  {
    const Engine engine = load_engine(demo_options());
    for (int i = 0; i < 20; ++i) {  // more than run at once
      Request request = greedy(question("What is 347 + 589?"), 0);
      request.stop.ignore_eos = true;
      Result<TokenStream> stream = engine.submit(request);
      ASSERT_TRUE(stream.ok());
      streams.push_back(std::move(stream).value());
    }
  }
  for (TokenStream& stream : streams) {
    EXPECT_EQ(drain(stream).finish.reason, FinishReason::kCancelled);
    stream.cancel();
  }
}

TEST(Engine, AFullQueueIsBusy) {
  EngineOptions options = demo_options();
  options.max_waiting = 2;
  options.max_sequences = 1;
  const Engine engine = load_engine(options);
  std::vector<TokenStream> streams;
  std::optional<Error> refused;
  for (int i = 0; i < 8 && !refused.has_value(); ++i) {
    Request request = greedy(question("Hello!"), 0);
    request.stop.ignore_eos = true;
    Result<TokenStream> stream = engine.submit(request);
    if (stream.ok()) {
      streams.push_back(std::move(stream).value());
    } else {
      refused = stream.error();
    }
  }
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->kind, ErrorKind::kBusy);
  EXPECT_LE(streams.size(), 4u);
}

TEST(Engine, ManyThreadsSubmitAtOnce) {
  const Engine& engine = shared_engine();
  const Completion expected = complete(engine, greedy(question("What is 347 + 589?"), 10));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 3; ++i) {
        const Completion completion = complete(engine, greedy(question("What is 347 + 589?"), 10));
        EXPECT_EQ(completion.tokens, expected.tokens);
        EXPECT_GE(engine.stats().num_running, 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Engine, StatsCountStepsAndTokens) {
  const Engine engine = load_engine(demo_options());
  const Completion completion = complete(engine, greedy(question("Hello!", false), 5));
  EngineStats stats = engine.stats();
  for (int i = 0; i < 1000 && stats.num_running > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    stats = engine.stats();
  }
  const int64_t prompt = completion.finish.prompt_tokens;
  EXPECT_EQ(stats.prompt_tokens_total, prompt);
  EXPECT_EQ(stats.output_tokens_total, 5);
  EXPECT_EQ(stats.num_steps_total, 5);  // the prompt gives the first token
  EXPECT_EQ(stats.step_tokens_total, prompt + 4);
  EXPECT_EQ(stats.steps_by_tokens[0], 4);
  EXPECT_EQ(stats.kv_tokens, engine.info().memory.kv_tokens);
  EXPECT_EQ(stats.kv_tokens_free, stats.kv_tokens);
}

TEST(Engine, TimeoutsComeBackWithoutAnEvent) {
  Request request = greedy(question("Hello!", false), 5);
  Result<TokenStream> stream = shared_engine().submit(request);
  ASSERT_TRUE(stream.ok());
  std::string text;
  while (!stream->finished()) {
    std::optional<StreamEvent> event = stream->next_within(std::chrono::milliseconds(0));
    if (event.has_value()) text += event->text;
  }
  EXPECT_EQ(text, "Hello! How can I");
}

TEST(Engine, ANotifiedReaderNeverWaits) {
  const Request request = greedy(question("What is 12 + 34?"), 0);
  const std::string expected = complete(shared_engine(), request).text;
  std::mutex mutex;
  std::condition_variable rung;
  bool ready = false;
  Result<TokenStream> stream = shared_engine().submit(request);
  ASSERT_TRUE(stream.ok());
  stream->on_event([&] {
    std::lock_guard lock(mutex);
    ready = true;
    rung.notify_one();
  });
  std::string text;
  while (!stream->finished()) {
    {
      std::unique_lock lock(mutex);
      rung.wait(lock, [&] { return ready; });
      ready = false;
    }
    while (auto event = stream->next_within(std::chrono::milliseconds(0))) text += event->text;
  }
  EXPECT_EQ(text, expected);

  // Asked late, it is told at once; told to be quiet, it is.
  stream = shared_engine().submit(request);
  ASSERT_TRUE(stream.ok());
  while (!stream->next_within(std::chrono::milliseconds(1)).has_value()) {
  }
  int64_t calls = 0;
  stream->on_event({});
  stream->cancel();
  while (!stream->finished()) stream->next();
  stream->on_event([&] { ++calls; });
  EXPECT_EQ(calls, 0);  // nothing is left to take
}

TEST(Engine, AModelInMemoryIsTheSameModel) {
  std::vector<std::string> texts;
  EngineOptions options = demo_options();
  const char* names[] = {"config.json", "generation_config.json", "tokenizer.json",
                         "tokenizer_config.json", "model.safetensors"};
  for (const char* name : names) {
    std::ifstream file(options.model + "/" + name, std::ios::binary);
    texts.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  for (size_t i = 0; i < texts.size(); ++i) options.model_files.push_back({names[i], texts[i]});
  options.model = "demo";
  std::string notice;
  options.notice = [&](const std::string& line) { notice += line; };
  const Engine engine = load_engine(options);
  const Request request = greedy(question("What is 347 + 589?"), 0);
  EXPECT_EQ(complete(engine, request).text, complete(shared_engine(), request).text);
  EXPECT_NE(notice.find("; memory: weights"), std::string::npos);
  EXPECT_EQ(engine.info().name, "demo");
  EXPECT_EQ(engine.info().architecture, "deepseek_v3");
  EXPECT_EQ(engine.info().default_sampling.temperature, 0);
  EXPECT_EQ(engine.info().eos_token_ids, (std::vector<int32_t>{1}));
}

TEST(Engine, CacheTypesAllAnswer) {
  int64_t bytes = shared_engine().info().memory.kv_bytes;
  for (KvDtype dtype : {KvDtype::kF16, KvDtype::kBF16, KvDtype::kInt8}) {
    EngineOptions options = demo_options();
    options.kv_dtype = dtype;
    const Engine engine = load_engine(options);
    EXPECT_EQ(complete(engine, greedy(question("Hello!", false), 0)).text,
              "Hello! How can I help you?");
    const int64_t now = engine.info().memory.kv_bytes;
    EXPECT_TRUE(dtype == KvDtype::kBF16 ? now == bytes : now < bytes);
    bytes = now;
  }
}

}  // namespace
}  // namespace ferry::engine
