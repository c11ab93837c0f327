// See chat_messages.h.
#include "server/api/chat_messages.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/quote_name.h"

namespace ferry::server::api {
namespace {

bool names_media(std::string_view type) {
  for (std::string_view word : {"image", "audio", "video", "file", "document"}) {
    if (type.find(word) != std::string_view::npos) return true;
  }
  return false;
}

void refuse_part(const std::string& path, const std::string& type, Failure& failure) {
  if (failure.has_value()) return;
  const std::string param = path_of(path, "type");
  failure = unsupported_value(
      param, names_media(type) ? quote_name(type) + " is not supported: this model reads text only"
                               : quote_name(type) + " is no type of content that is known here");
}

void read_content(Fields& fields, Json& out) {
  const Json* content = fields.find("content");
  if (content == nullptr) {
    out["content"] = nullptr;
    return;
  }
  const auto text = read_text(*content, fields.path("content"), {"text"}, fields.failure());
  out["content"] = text.value_or("");
}

void read_tool_calls(Fields& fields, Json& out) {
  const Json* calls = fields.array("tool_calls");
  if (calls == nullptr || calls->empty()) return;
  Json list = Json::array();
  for (size_t i = 0; i < calls->size(); ++i) {
    Fields call((*calls)[i], path_of(fields.path("tool_calls"), i), fields.failure());
    call.one_of("type", {"function"});
    const std::string id = call.string("id").value_or("");
    const Json* function = call.find("function");
    if (function == nullptr) {
      call.fail(missing_field(call.path("function")));
      return;
    }
    Fields callee(*function, call.path("function"), fields.failure());
    const std::string name = callee.required_string("name");
    // Some clients send the parsed object back.
    const Json* arguments = callee.find("arguments");
    std::string text = "{}";
    if (arguments != nullptr && arguments->is_object()) {
      text = dump(*arguments);
    } else if (arguments != nullptr) {
      text = callee.string("arguments").value_or("");
    }
    list.push_back(tool_call_json(id, name, text));
  }
  out["tool_calls"] = std::move(list);
}

Json read_assistant(Fields& fields) {
  Json out{{"role", "assistant"}};
  read_content(fields, out);
  if (const auto refusal = fields.string("refusal"); refusal && out["content"].is_null()) {
    out["content"] = *refusal;
  }
  if (const auto reasoning = fields.string("reasoning_content"); reasoning && !reasoning->empty()) {
    out["reasoning_content"] = *reasoning;
  }
  read_tool_calls(fields, out);
  fields.refuse("function_call", "is not supported; use tool_calls");
  fields.refuse("audio", "is not supported: this model reads text only");
  // Templates tell a message with calls by its missing content.
  const bool empty = out["content"].is_null() || out["content"] == "";
  if (empty) out["content"] = out.contains("tool_calls") ? Json(nullptr) : Json("");
  return out;
}

Json read_message(Fields& fields) {
  const std::string role = fields.required_string("role");
  Json out;
  if (role == "assistant") {
    out = read_assistant(fields);
  } else if (role == "system" || role == "developer" || role == "user" || role == "tool") {
    out["role"] = role == "developer" ? "system" : role;
    read_content(fields, out);
    if (out["content"].is_null()) fields.fail(missing_field(fields.path("content")));
    if (role == "tool") out["tool_call_id"] = fields.required_string("tool_call_id");
  } else if (role == "function") {
    fields.fail(unsupported_value(fields.path("role"), "\"function\" is not supported; use tools"));
  } else {
    fields.one_of("role", {"system", "developer", "user", "assistant", "tool"});
  }
  if (const auto name = fields.string("name")) out["name"] = *name;
  return out;
}

}  // namespace

Json tool_call_json(const std::string& id, const std::string& name, const std::string& arguments) {
  return {
      {"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
}

std::optional<std::string> read_text(const Json& value, const std::string& path,
                                     std::initializer_list<std::string_view> text_types,
                                     Failure& failure) {
  if (failure.has_value()) return std::nullopt;
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) {
    failure = {400,
               fmt::format("{}: expected a string or an array of parts, found {}", path,
                           json_type_name(value)),
               path, "invalid_type"};
    return std::nullopt;
  }
  std::string out;
  for (size_t i = 0; i < value.size(); ++i) {
    if (value[i].is_string()) {
      out += value[i].get_ref<const std::string&>();
      continue;
    }
    Fields part(value[i], path_of(path, i), failure);
    const std::string type = part.required_string("type");
    if (failure.has_value()) return std::nullopt;
    if (type == "refusal") {
      out += part.required_string("refusal");
    } else if (std::find(text_types.begin(), text_types.end(), type) != text_types.end()) {
      out += part.required_string("text");
    } else {
      refuse_part(part.path(), type, failure);
    }
    if (failure.has_value()) return std::nullopt;
  }
  return out;
}

void read_messages(Fields& body, ChatAsk& ask) {
  const Json* messages = body.required_array("messages");
  if (messages == nullptr) return;
  if (messages->empty()) {
    body.fail({400, "messages: at least one is needed", "messages", "empty_array"});
    return;
  }
  for (size_t i = 0; i < messages->size(); ++i) {
    Fields fields((*messages)[i], path_of(body.path("messages"), i), body.failure());
    Json message = read_message(fields);
    if (fields.boolean("prefix").value_or(false)) {
      if (i + 1 < messages->size() || message.value("role", "") != "assistant") {
        fields.fail(
            invalid_value(fields.path("prefix"),
                          "only the last message can be continued, and only an assistant's"));
      }
      ask.continue_last = true;
    }
    if (body.failure().has_value()) return;
    ask.messages.push_back(std::move(message));
  }
}

}  // namespace ferry::server::api
