// POST messages and messages/count_tokens: Anthropic's dialect over the same chats as the other
// routes. How to serve it:
//
//   /v1/messages, /anthropic/v1/messages                → anthropic_messages()
//   …/count_tokens                                      → anthropic_count_tokens()
//   every error of these routes, whoever found it       → error_body(Dialect::kAnthropic, error,
//   id)
//
// Keys come as x-api-key or as a Bearer token; the headers anthropic-version and anthropic-beta are
// ignored. Thinking is off unless a request asks for it (or the server is set so), and then comes
// as blocks of its own; of a model that always thinks, the thoughts are left out where nobody asked
// for them. Tools without a schema of their own (web_search_…, bash_…) are not shown to the model.
#pragma once

#include <string_view>

#include "server/api/chat_ask.h"
#include "server/api/exchange.h"

namespace ferry::server::api {

struct AnthropicBody {
  ChatAsk ask;
  bool stream = false;
  bool show_thinking = false;
};

// `counting`: without what an answer needs (max_tokens).
ApiResult<AnthropicBody> read_anthropic_body(const ServedModel& model, std::string_view body,
                                             bool counting);

// The whole routes. `model` outlives the Job.
ApiResult<Reply> anthropic_messages(const ServedModel& model, std::string_view body);
ApiResult<Reply> anthropic_count_tokens(const ServedModel& model, std::string_view body);

}  // namespace ferry::server::api
