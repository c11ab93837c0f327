// See conversation.h.
#include "cmd/conversation.h"

#include <fstream>

#include "base/quote_name.h"
#include "cmd/read_input.h"

namespace ferry::cmd {
namespace {

Status check_message(const Json& message, size_t index) {
  if (!message.is_object()) {
    return invalid_input("messages[{}]: expected an object, found {}", index,
                         json_type_name(message));
  }
  Result<std::string> role = json_string(message, "role");
  if (!role.ok()) return role.error().in(fmt::format("messages[{}]", index));
  if (*role != "system" && *role != "user" && *role != "assistant" && *role != "tool") {
    return invalid_input("messages[{}].role: {}; expected system, user, assistant or tool", index,
                         quote_name(*role));
  }
  Result<std::string> content = json_string_or(message, "content", "");
  if (!content.ok()) return content.error().in(fmt::format("messages[{}]", index));
  return {};
}

}  // namespace

Json tool_calls_json(const std::vector<ToolCall>& calls) {
  Json list = Json::array();
  for (const ToolCall& call : calls) {
    list.push_back({{"id", call.id},
                    {"type", "function"},
                    {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  return list;
}

void Conversation::set_system(std::string text) { system_ = std::move(text); }

void Conversation::add_user(std::string text) {
  turns_.push_back({{"role", "user"}, {"content", std::move(text)}});
}

void Conversation::add_assistant(Completion answer) {
  Json message = {{"role", "assistant"}, {"content", std::move(answer.text)}};
  if (!answer.reasoning.empty()) message["reasoning_content"] = std::move(answer.reasoning);
  if (!answer.tool_calls.empty()) message["tool_calls"] = tool_calls_json(answer.tool_calls);
  turns_.push_back(std::move(message));
}

void Conversation::drop_last() {
  if (!turns_.empty()) turns_.erase(turns_.size() - 1);
}

Json Conversation::messages() const {
  Json all = Json::array();
  if (!system_.empty()) all.push_back({{"role", "system"}, {"content", system_}});
  for (const Json& turn : turns_) all.push_back(turn);
  return all;
}

std::string Conversation::messages_json() const {
  return messages().dump(-1, ' ', false, Json::error_handler_t::replace);
}

Status Conversation::save(const std::string& path) const {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  const Json root = {{"messages", messages()}};
  file << root.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  file.flush();
  if (!file) return io_error("{}: can't be written", path);
  return {};
}

Status Conversation::load(const std::string& path) {
  FERRY_TRY(const std::string text, read_input(path));
  Result<Json> root = parse_json(text);
  if (!root.ok()) return root.error().in(path);
  const Json* list = root->is_object() ? json_find(*root, "messages") : &*root;
  if (list == nullptr || !list->is_array()) {
    return invalid_input("{}: expected an object with a list of \"messages\"", path);
  }
  std::string system;
  Json turns = Json::array();
  for (size_t i = 0; i < list->size(); ++i) {
    const Json& message = (*list)[i];
    if (Status status = check_message(message, i); !status.ok()) return status.error().in(path);
    if (i == 0 && message["role"] == "system") {
      system = message.value("content", "");
    } else {
      turns.push_back(message);
    }
  }
  system_ = std::move(system);
  turns_ = std::move(turns);
  return {};
}

}  // namespace ferry::cmd
