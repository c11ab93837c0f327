// POST responses: OpenAI's Responses API without its store. Every request carries the whole
// conversation; what refers to something kept (previous_response_id, conversation, store: true,
// background) is refused. Tools run at the client: functions, namespaces of functions, and custom
// tools, whose one free text the model gives as the argument "input". Hosted tools (web_search, …)
// do not exist here; they are left out of what the model is shown.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "server/api/chat_ask.h"
#include "server/api/exchange.h"

namespace ferry::server::api {

// What a tool that the model sees is called by the client.
struct ToolOrigin {
  std::string name;
  std::string name_space;  // empty: none
  bool custom = false;
};

struct ResponsesBody {
  ChatAsk ask;
  bool stream = false;
  bool with_logprobs = false;
  std::map<std::string, ToolOrigin> origins;  // by the name that the model sees
  Json echo = Json::object();                 // fields of the request that a response repeats
};

ApiResult<ResponsesBody> read_responses_body(const ServedModel& model, std::string_view body);

// The whole route. `model` outlives the Job.
ApiResult<Reply> responses(const ServedModel& model, std::string_view body);

}  // namespace ferry::server::api
