// ChatAsk: one conversation to be continued, as every chat dialect (chat/completions, responses,
// Anthropic's messages) is translated into it, and from it to engine requests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/api/fields.h"
#include "server/api/served_model.h"

namespace ferry::server::api {

struct ChatAsk {
  Json messages = Json::array();  // OpenAI's, checked: see chat_messages.h
  Json tools = Json::array();     // OpenAI's, checked: see tools.h
  ToolChoice tool_choice;
  bool parallel_tool_calls = true;
  std::optional<Constraint> constraint;

  std::optional<bool> thinking;
  Json template_variables = Json::object();
  bool continue_last = false;  // the last message is the assistant's and goes on (prefix: true)

  SamplingParams sampling;
  StopConditions stop;
  std::string cache_scope;
  int priority = 0;
};

// How hard to think, in the words of the OpenAI APIs: "none" and "minimal" are no thinking, the
// rest is thinking where the model can. Other words are a failure.
void read_effort(Fields& fields, std::string_view key, const ServedModel& model, ChatAsk& ask);

// One request per choice.
std::vector<Request> to_requests(const ChatAsk& ask, size_t num_choices);

}  // namespace ferry::server::api
