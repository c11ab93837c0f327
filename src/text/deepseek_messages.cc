// See deepseek_messages.h.
#include "text/deepseek_messages.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/quote_name.h"

namespace ferry::text {
namespace {

Result<std::vector<DeepSeekCall>> read_calls(const Json& calls) {
  std::vector<DeepSeekCall> out;
  if (!calls.is_array()) return invalid_input("tool_calls: expected an array");
  for (const Json& call : calls) {
    const Json* function = call.is_object() ? json_find(call, "function") : nullptr;
    if (function == nullptr || !function->is_object()) {
      return invalid_input("tool_calls: expected objects with a \"function\"");
    }
    DeepSeekCall read;
    FERRY_TRY(read.id, json_string_or(call, "id", ""));
    FERRY_TRY(read.name, json_string(*function, "name"));
    const Json* arguments = json_find(*function, "arguments");
    if (arguments == nullptr) return invalid_input("tool_calls: a call without \"arguments\"");
    read.arguments =
        arguments->is_string() ? arguments->get<std::string>() : python_json(*arguments);
    out.push_back(std::move(read));
  }
  return out;
}

Result<DeepSeekMessage> read_message(const Json& message) {
  DeepSeekMessage out;
  if (!message.is_object()) return invalid_input("expected an object");
  FERRY_TRY(out.role, json_string(message, "role"));
  FERRY_TRY(out.content, json_string_or(message, "content", ""));
  if (out.role == "developer") out.role = "system";
  if (out.role != "system" && out.role != "user" && out.role != "assistant" && out.role != "tool") {
    return invalid_input("role: expected system, user, assistant or tool, found {}",
                         quote_name(out.role));
  }
  FERRY_TRY(out.task, json_string_or(message, "task", ""));
  if (!out.task.empty() && std::find(std::begin(kDeepSeekTasks), std::end(kDeepSeekTasks),
                                     out.task) == std::end(kDeepSeekTasks)) {
    return invalid_input("task: found {}, expected one of {}", quote_name(out.task),
                         fmt::join(kDeepSeekTasks, ", "));
  }
  if (out.role == "tool") {
    FERRY_TRY(out.call_id, json_string_or(message, "tool_call_id", ""));
  }
  if (out.role != "assistant") return out;
  FERRY_TRY(out.reasoning, json_string_or(message, "reasoning_content", ""));
  const Json* calls = json_find(message, "tool_calls");
  if (calls != nullptr) {
    FERRY_TRY(out.calls, read_calls(*calls));
  }
  return out;
}

}  // namespace

Result<std::vector<DeepSeekMessage>> read_deepseek_messages(const Json& messages) {
  std::vector<DeepSeekMessage> out;
  if (!messages.is_array()) return invalid_input("messages: expected an array");
  for (size_t i = 0; i < messages.size(); ++i) {
    auto message = read_message(messages[i]);
    if (!message.ok()) return message.error().in(fmt::format("messages[{}]", i));
    out.push_back(std::move(*message));
  }
  return out;
}

std::string joined_system(const std::vector<DeepSeekMessage>& messages) {
  std::string out;
  bool first = true;
  for (const DeepSeekMessage& message : messages) {
    if (message.role != "system") continue;
    out += (first ? "" : "\n\n") + message.content;
    first = false;
  }
  return out;
}

int64_t last_user_index(const std::vector<DeepSeekMessage>& messages) {
  for (int64_t i = std::ssize(messages) - 1; i >= 0; --i) {
    if (messages[static_cast<size_t>(i)].role == "user") return i;
  }
  return -1;
}

bool has_tools(const DeepSeekOptions& options) {
  return options.tools.is_array() && !options.tools.empty();
}

Result<std::vector<Json>> tool_functions(const Json& tools) {
  std::vector<Json> out;
  for (size_t i = 0; i < tools.size(); ++i) {
    const Json* function = tools[i].is_object() ? json_find(tools[i], "function") : nullptr;
    if (function == nullptr || !function->is_object()) {
      return invalid_input("tools[{}]: expected an object with a \"function\"", i);
    }
    auto name = json_string(*function, "name");
    if (!name.ok()) return name.error().in(fmt::format("tools[{}].function", i));
    auto description = json_string_or(*function, "description", "");
    if (!description.ok()) return description.error().in(fmt::format("tools[{}].function", i));
    out.push_back(*function);
  }
  return out;
}

}  // namespace ferry::text
