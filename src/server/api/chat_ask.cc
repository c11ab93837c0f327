// See chat_ask.h.
#include "server/api/chat_ask.h"

#include "server/api/sampling_fields.h"

namespace ferry::server::api {

void read_effort(Fields& fields, std::string_view key, const ServedModel& model, ChatAsk& ask) {
  const auto effort =
      fields.one_of(key, {"none", "minimal", "low", "medium", "high", "xhigh", "max"});
  if (!effort.has_value() || !model.can_think) return;
  if (!ask.thinking.has_value()) ask.thinking = *effort != "none" && *effort != "minimal";
  ask.template_variables.emplace("reasoning_effort", *effort);
}

std::vector<Request> to_requests(const ChatAsk& ask, size_t num_choices) {
  ChatPrompt prompt{
      .messages_json = dump(ask.messages), .tools_json = {}, .thinking = ask.thinking};
  // A model that must not call tools is not shown any.
  const bool with_tools = !ask.tools.empty() && ask.tool_choice.kind != ToolChoice::kNone;
  if (with_tools) prompt.tools_json = dump(ask.tools);
  if (!ask.template_variables.empty()) prompt.extra_json = dump(ask.template_variables);
  prompt.continue_last = ask.continue_last;

  Request request;
  request.prompt = std::move(prompt);
  request.sampling = ask.sampling;
  request.stop = ask.stop;
  request.priority = ask.priority;
  request.cache_scope = ask.cache_scope;
  request.constraint = ask.constraint;
  if (with_tools) request.tool_choice = ask.tool_choice;
  request.parallel_tool_calls = ask.parallel_tool_calls;
  std::vector<Request> out(num_choices, request);
  for (size_t i = 0; i < num_choices; ++i) offset_seed(out[i].sampling, i);
  return out;
}

}  // namespace ferry::server::api
