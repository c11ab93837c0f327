// What the answers of all dialects are made of: text and tool calls gathered from stream events,
// log-probabilities and usage as JSON.
#pragma once

#include <string>
#include <vector>

#include "server/api/exchange.h"
#include "server/api/served_model.h"

namespace ferry::server::api {

struct GatheredCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON text, as the model wrote it
};

// A whole answer, or what has come of it so far.
struct Gathered {
  std::string text;
  std::string reasoning;
  std::vector<GatheredCall> calls;
  std::optional<Finish> finish;

  // Pieces of calls are taken in order; one that opens no call and follows none is dropped.
  void add(const StreamEvent& event);
};

// The log-probabilities of one stream event: of what was thought, and of what was answered. The
// end-of-text token is left out; it is no text of an answer.
struct EventLogprobs {
  std::vector<PositionLogprobs> reasoning;
  std::vector<PositionLogprobs> content;
};
EventLogprobs answer_logprobs(const ServedModel& model, const StreamEvent& event);

// {"token", "logprob", "bytes"}
Json token_logprob_json(const ServedModel& model, const TokenLogprob& token);
// The same with "top_logprobs".
Json position_logprobs_json(const ServedModel& model, const PositionLogprobs& position);

// Sums over the choices of one exchange. Choices of one prompt count it once.
struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t reasoning_tokens = 0;

  void add(const Finish& finish, bool first_of_prompt);
};

// OpenAI's, with DeepSeek's prompt_cache_hit_tokens and prompt_cache_miss_tokens.
Json usage_json(const Usage& usage);

// "stop", "length", "tool_calls"; a request that the server gave up is DeepSeek's
// "insufficient_system_resource".
std::string_view openai_finish_reason(FinishReason reason);

// The error of a stream that ended with kError.
ApiError finish_error(const Finish& finish);

}  // namespace ferry::server::api
