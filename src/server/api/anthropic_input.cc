// See anthropic_input.h.
#include "server/api/anthropic_input.h"

#include <fmt/format.h>

#include "base/quote_name.h"
#include "server/api/chat_messages.h"
#include "server/api/tools.h"

namespace ferry::server::api {
namespace {

// Paragraphs of their own, as the blocks of one message are.
void add_paragraph(std::string& text, const std::string& block) {
  if (!text.empty() && !block.empty()) text += "\n\n";
  text += block;
}

void refuse_block(Fields& block, const std::string& type) {
  const bool media = type == "image" || type == "document" || type == "file" || type == "audio";
  block.fail(unsupported_value(
      block.path("type"), media ? quote_name(type) + " is not supported: this model reads text only"
                                : quote_name(type) + " is no type of block that is known here"));
}

// A text, or blocks of type "text".
std::string read_blocks(const Json& value, const std::string& path, Failure& failure) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) {
    if (!failure.has_value()) {
      failure = {400,
                 fmt::format("{}: expected a string or an array of blocks, found {}", path,
                             json_type_name(value)),
                 path, "invalid_type"};
    }
    return {};
  }
  std::string text;
  for (size_t i = 0; i < value.size() && !failure.has_value(); ++i) {
    Fields block(value[i], path_of(path, i), failure);
    const std::string type = block.required_string("type");
    if (failure.has_value()) return {};
    if (type == "text") {
      add_paragraph(text, block.required_string("text"));
    } else {
      refuse_block(block, type);
    }
  }
  return text;
}

// One message: its content as a list of blocks, whatever it came as.
class MessageReader {
 public:
  MessageReader(Fields& message, ChatAsk& ask)
      : message_(message), failure_(message.failure()), ask_(ask) {}

  void read() {
    const std::string role = message_.required_string("role");
    if (role != "user" && role != "assistant" && role != "system") {
      message_.one_of("role", {"user", "assistant"});
      return;
    }
    const Json* content = message_.find("content");
    if (content == nullptr) return message_.fail(missing_field(message_.path("content")));
    if (content->is_string()) {
      text_ = content->get<std::string>();
    } else if (content->is_array()) {
      for (size_t i = 0; i < content->size() && !failure_.has_value(); ++i) {
        Fields block((*content)[i], path_of(message_.path("content"), i), failure_);
        role == "assistant" ? assistant_block(block) : user_block(block);
      }
    } else {
      message_.fail_type("content", "a string or an array of blocks", *content);
    }
    if (failure_.has_value()) return;
    role == "assistant" ? add_assistant() : add_user(role);
  }

 private:
  void user_block(Fields& block) {
    const std::string type = block.required_string("type");
    if (failure_.has_value()) return;
    if (type == "text") {
      add_paragraph(text_, block.required_string("text"));
    } else if (type == "tool_result") {
      const std::string id = block.required_string("tool_use_id");
      block.boolean("is_error");
      const Json* content = block.find("content");
      std::string result;
      if (content != nullptr) result = read_blocks(*content, block.path("content"), failure_);
      ask_.messages.push_back(
          {{"role", "tool"}, {"content", std::move(result)}, {"tool_call_id", id}});
      has_results_ = true;
    } else {
      refuse_block(block, type);
    }
  }

  void assistant_block(Fields& block) {
    const std::string type = block.required_string("type");
    if (failure_.has_value()) return;
    if (type == "text") {
      text_ += block.required_string("text");
    } else if (type == "thinking") {
      add_paragraph(reasoning_, block.required_string("thinking"));
    } else if (type == "tool_use") {
      const std::string id = block.required_string("id");
      const std::string name = block.required_string("name");
      const Json* input = block.object("input");
      calls_.push_back(tool_call_json(id, name, input != nullptr ? dump(*input) : "{}"));
    } else if (type != "redacted_thinking") {
      refuse_block(block, type);
    }
  }

  void add_user(const std::string& role) {
    if (has_results_ && text_.empty()) return;
    ask_.messages.push_back({{"role", role}, {"content", std::move(text_)}});
  }

  void add_assistant() {
    Json out{{"role", "assistant"}};
    out["content"] = text_.empty() && !calls_.empty() ? Json(nullptr) : Json(std::move(text_));
    if (!reasoning_.empty()) out["reasoning_content"] = std::move(reasoning_);
    if (!calls_.empty()) out["tool_calls"] = std::move(calls_);
    ask_.messages.push_back(std::move(out));
  }

  Fields& message_;
  Failure& failure_;
  ChatAsk& ask_;
  std::string text_;
  std::string reasoning_;
  Json calls_ = Json::array();
  bool has_results_ = false;
};

void add_anthropic_tool(const Json& json, const std::string& path, Failure& failure, ChatAsk& ask) {
  Fields tool(json, path, failure);
  const std::string type = tool.string("type").value_or("custom");
  if (failure.has_value() || type != "custom") return;  // without a schema that could be shown
  const Json* schema = tool.object("input_schema");
  if (schema == nullptr) tool.fail(missing_field(tool.path("input_schema")));
  if (failure.has_value()) return;
  Json shown = json;
  shown["parameters"] = *schema;
  Fields function(shown, path, failure);
  add_function(function, ask);
}

void read_anthropic_choice(Fields& body, ChatAsk& ask) {
  const Json* choice = body.object("tool_choice");
  if (choice == nullptr) return;
  Fields fields(*choice, body.path("tool_choice"), body.failure());
  const auto type = fields.one_of("type", {"auto", "any", "tool", "none"});
  if (!type.has_value()) return fields.fail(missing_field(fields.path("type")));
  ask.parallel_tool_calls = !fields.boolean("disable_parallel_tool_use").value_or(false);
  if (*type == "tool") {
    set_named_tool(fields.required_string("name"), fields.path("name"), body.failure(), ask);
  } else {
    set_tool_choice(*type == "any" ? "required" : *type, ask);
  }
  if (*type == "any" && ask.tools.empty()) {
    body.fail(invalid_value(fields.path("type"), "\"any\" needs tools"));
  }
}

}  // namespace

void read_anthropic_messages(Fields& body, ChatAsk& ask) {
  if (const Json* system = body.find("system")) {
    std::string text = read_blocks(*system, "system", body.failure());
    if (!text.empty()) ask.messages.push_back({{"role", "system"}, {"content", std::move(text)}});
  }
  const Json* messages = body.required_array("messages");
  if (messages == nullptr) return;
  if (messages->empty()) {
    return body.fail({400, "messages: at least one is needed", "messages", "empty_array"});
  }
  for (size_t i = 0; i < messages->size() && !body.failure().has_value(); ++i) {
    Fields message((*messages)[i], path_of("messages", i), body.failure());
    MessageReader(message, ask).read();
  }
  if (body.failure().has_value() || ask.messages.empty()) return;
  const Json& last = ask.messages.back();
  if (last["role"] != "assistant") return;
  ask.continue_last = true;
  const std::string path = path_of("messages", messages->size() - 1);
  if (last.contains("tool_calls")) {
    body.fail(invalid_value(path, "tool_use without a tool_result behind it"));
  } else if (messages->size() == 1) {
    body.fail(invalid_value(path, "the first message must be the user's"));
  }
}

void read_anthropic_tools(Fields& body, ChatAsk& ask) {
  if (const Json* tools = body.array("tools")) {
    for (size_t i = 0; i < tools->size() && !body.failure().has_value(); ++i) {
      add_anthropic_tool((*tools)[i], path_of("tools", i), body.failure(), ask);
    }
  }
  if (!body.failure().has_value()) read_anthropic_choice(body, ask);
}

}  // namespace ferry::server::api
