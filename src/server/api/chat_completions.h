// POST chat/completions: OpenAI's chat with DeepSeek's extensions (reasoning_content, thinking,
// prefix: true, cache hit and miss in the usage).
#pragma once

#include <string_view>

#include "server/api/chat_ask.h"
#include "server/api/exchange.h"

namespace ferry::server::api {

struct ChatBody {
  ChatAsk ask;
  int64_t num_choices = 1;
  bool stream = false;
  bool include_usage = false;
};

// Unknown fields are ignored, as every OpenAI-compatible server does.
ApiResult<ChatBody> read_chat_body(const ServedModel& model, std::string_view body);

// The whole route. `model` outlives the Job.
ApiResult<Reply> chat_completions(const ServedModel& model, std::string_view body);

}  // namespace ferry::server::api
