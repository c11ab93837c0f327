// For the tests of this folder: engines over the built-in model of the source tree.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "device/backend.h"
#include "ferry/ferry.h"

namespace ferry::engine {

// The backends that compute on the host; "cpu" comes first where this build has it.
inline std::vector<std::string> host_backends() {
  std::vector<std::string> names;
  for (const BackendEntry* entry : all_backends()) {
    if (entry->name == "cpu" || entry->name == "reference") names.emplace_back(entry->name);
  }
  return names;
}

inline EngineOptions demo_options() {
  EngineOptions options;
  options.backend = host_backends().front();
  options.model = FERRY_SOURCE_DIR "/demo";
  options.threads = 1;
  options.max_context = 256;
  return options;
}

inline Engine load_engine(const EngineOptions& options) {
  Result<Engine> engine = Engine::load(options);
  if (!engine.ok()) {
    ADD_FAILURE() << engine.error().message;
    std::abort();  // nothing in the test makes sense without it
  }
  return std::move(engine).value();
}

// A question as the chat template of the built-in model writes it.
inline std::string question(const std::string& text, bool thinking = true) {
  return "<｜begin▁of▁sentence｜><｜User｜>" + text + "<｜Assistant｜>" +
         (thinking ? "<think>" : "</think>");
}

inline Request greedy(const std::string& prompt, int64_t max_tokens) {
  Request request;
  request.prompt = TextPrompt{prompt, false, true};
  request.sampling.temperature = 0;
  request.stop.max_tokens = max_tokens;
  return request;
}

inline Completion drain(TokenStream& stream) {
  Completion completion;
  while (std::optional<StreamEvent> event = stream.next()) completion.add(*std::move(event));
  return completion;
}

inline Completion complete(const Engine& engine, const Request& request) {
  Result<Completion> completion = engine.complete(request);
  if (completion.ok()) return std::move(completion).value();
  ADD_FAILURE() << completion.error().message;
  return {};
}

// Log-probabilities are compared bit for bit, and with them the logits they come from.
inline void expect_same_bits(const Completion& a, const Completion& b, size_t request) {
  EXPECT_EQ(a.tokens, b.tokens) << "request " << request;
  EXPECT_EQ(a.text, b.text) << "request " << request;
  ASSERT_EQ(a.logprobs.size(), b.logprobs.size());
  for (size_t i = 0; i < a.logprobs.size(); ++i) {
    const auto expect_same = [&](const TokenLogprob& x, const TokenLogprob& y) {
      EXPECT_EQ(x.token, y.token);
      EXPECT_EQ(std::memcmp(&x.logprob, &y.logprob, sizeof x.logprob), 0)
          << "request " << request << ", token " << i << ": " << x.logprob << ", " << y.logprob;
    };
    expect_same(a.logprobs[i].chosen, b.logprobs[i].chosen);
    ASSERT_EQ(a.logprobs[i].top.size(), b.logprobs[i].top.size());
    for (size_t k = 0; k < a.logprobs[i].top.size(); ++k) {
      expect_same(a.logprobs[i].top[k], b.logprobs[i].top[k]);
    }
  }
}

inline std::vector<Completion> one_by_one(const Engine& engine,
                                          const std::vector<Request>& requests) {
  std::vector<Completion> completions;
  for (const Request& request : requests) completions.push_back(complete(engine, request));
  return completions;
}

inline std::vector<Completion> together(const Engine& engine,
                                        const std::vector<Request>& requests) {
  std::vector<TokenStream> streams;
  for (const Request& request : requests) {
    Result<TokenStream> stream = engine.submit(request);
    EXPECT_TRUE(stream.ok());
    streams.push_back(std::move(stream).value());
  }
  std::vector<Completion> completions;
  for (TokenStream& stream : streams) completions.push_back(drain(stream));
  return completions;
}

}  // namespace ferry::engine
