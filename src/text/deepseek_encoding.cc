#include "text/deepseek_encoding.h"

namespace ferry::text {
namespace {

constexpr const char* kUser = "<｜User｜>";
constexpr const char* kAssistant = "<｜Assistant｜>";
constexpr const char* kCallsBegin = "<｜tool▁calls▁begin｜>";
constexpr const char* kCallsEnd = "<｜tool▁calls▁end｜>";
constexpr const char* kCallBegin = "<｜tool▁call▁begin｜>";
constexpr const char* kCallEnd = "<｜tool▁call▁end｜>";
constexpr const char* kSeparator = "<｜tool▁sep｜>";
constexpr const char* kOutputsBegin = "<｜tool▁outputs▁begin｜>";
constexpr const char* kOutputsEnd = "<｜tool▁outputs▁end｜>";
constexpr const char* kOutputBegin = "<｜tool▁output▁begin｜>";
constexpr const char* kOutputEnd = "<｜tool▁output▁end｜>";

struct Call {
  std::string name;
  std::string arguments;  // JSON text
};

struct Message {
  std::string role;
  std::string content;
  std::vector<Call> calls;
};

Result<std::vector<Call>> read_calls(const Json& calls) {
  std::vector<Call> out;
  if (!calls.is_array()) return invalid_input("tool_calls: expected an array");
  for (const Json& call : calls) {
    const Json* function = call.is_object() ? json_find(call, "function") : nullptr;
    if (function == nullptr || !function->is_object()) {
      return invalid_input("tool_calls: expected objects with a \"function\"");
    }
    Call read;
    FERRY_TRY(read.name, json_string(*function, "name"));
    const Json* arguments = json_find(*function, "arguments");
    if (arguments == nullptr) return invalid_input("tool_calls: a call without \"arguments\"");
    read.arguments =
        arguments->is_string() ? arguments->get<std::string>() : python_json(*arguments);
    out.push_back(std::move(read));
  }
  return out;
}

Result<Message> read_message(const Json& message) {
  Message out;
  if (!message.is_object()) return invalid_input("expected an object");
  FERRY_TRY(out.role, json_string(message, "role"));
  FERRY_TRY(out.content, json_string_or(message, "content", ""));
  if (out.role == "developer") out.role = "system";
  if (out.role != "system" && out.role != "user" && out.role != "assistant" && out.role != "tool") {
    return invalid_input("role: expected system, user, assistant or tool, found \"{}\"", out.role);
  }
  const Json* calls = json_find(message, "tool_calls");
  if (calls != nullptr) {
    FERRY_TRY(out.calls, read_calls(*calls));
  }
  // What was thought is not shown to the model again.
  if (out.role == "assistant") {
    const size_t end = out.content.find("</think>");
    if (end != std::string::npos) out.content.erase(0, end + 8);
  }
  return out;
}

Result<std::vector<Message>> read_messages(const Json& messages) {
  std::vector<Message> out;
  if (!messages.is_array()) return invalid_input("messages: expected an array");
  for (size_t i = 0; i < messages.size(); ++i) {
    auto message = read_message(messages[i]);
    if (!message.ok()) return message.error().in(fmt::format("messages[{}]", i));
    out.push_back(std::move(*message));
  }
  return out;
}

std::string joined_system(const std::vector<Message>& messages) {
  std::string out;
  bool first = true;
  for (const Message& message : messages) {
    if (message.role != "system") continue;
    out += (first ? "" : "\n\n") + message.content;
    first = false;
  }
  return out;
}

Result<std::string> encode_v2(const std::vector<Message>& messages,
                              const DeepSeekOptions& options) {
  std::string out = options.bos;
  for (const Message& message : messages) {
    if (message.role == "system") out += message.content + "\n\n";
    if (message.role == "user") out += "User: " + message.content + "\n\n";
    if (message.role == "assistant") out += "Assistant: " + message.content + options.eos;
    if (message.role == "tool" || !message.calls.empty()) {
      return unsupported("messages: the chat format of DeepSeek-V2 has no tool calls");
    }
  }
  if (options.add_generation_prompt) out += "Assistant:";
  return out;
}

std::string v3_calls(const std::vector<Call>& calls) {
  std::string out = kCallsBegin;
  for (size_t i = 0; i < calls.size(); ++i) {
    if (i > 0) out += "\n";
    out += fmt::format("{}function{}{}\n```json\n{}\n```{}", kCallBegin, kSeparator, calls[i].name,
                       calls[i].arguments, kCallEnd);
  }
  return out + kCallsEnd;
}

// V3 and R1. Tool results stand between markers of their own; the answer follows them directly.
std::string encode_v3(const std::vector<Message>& messages, const DeepSeekOptions& options,
                      bool thinks) {
  std::string out = options.bos + joined_system(messages);
  bool in_outputs = false;
  for (const Message& message : messages) {
    const bool is_output = message.role == "tool";
    if (in_outputs && !is_output) out += kOutputsEnd;
    const bool after_outputs = in_outputs && !is_output;
    if (message.role == "user") out += kUser + message.content;
    if (message.role == "assistant") {
      if (!after_outputs) out += kAssistant;
      out += message.content;
      if (!message.calls.empty()) out += v3_calls(message.calls);
      out += options.eos;
    }
    if (is_output) {
      out += in_outputs ? "\n" : kOutputsBegin;
      out += kOutputBegin + message.content + kOutputEnd;
    }
    in_outputs = is_output;
  }
  if (in_outputs) return out + kOutputsEnd;
  if (options.add_generation_prompt)
    out += thinks ? fmt::format("{}<think>\n", kAssistant) : kAssistant;
  return out;
}

Result<std::string> v31_tools(const Json& tools) {
  std::string out = "## Tools\nYou have access to the following tools:\n\n";
  for (size_t i = 0; i < tools.size(); ++i) {
    const Json* function = tools[i].is_object() ? json_find(tools[i], "function") : nullptr;
    if (function == nullptr || !function->is_object()) {
      return invalid_input("tools[{}]: expected an object with a \"function\"", i);
    }
    auto name = json_string(*function, "name");
    if (!name.ok()) return name.error().in(fmt::format("tools[{}].function", i));
    auto description = json_string_or(*function, "description", "");
    if (!description.ok()) return description.error().in(fmt::format("tools[{}].function", i));
    const Json* parameters = json_find(*function, "parameters");
    out += fmt::format("{}### {}\nDescription: {}\n\nParameters: {}\n", i > 0 ? "\n" : "", *name,
                       *description, parameters == nullptr ? "{}" : python_json(*parameters));
  }
  return out + fmt::format(
                   "\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
                   "{}{}tool_call_name{}tool_call_arguments{}{{additional_tool_calls}}{}\n\n"
                   "Where:\n"
                   "- `tool_call_name` must be an exact match to one of the available tools\n"
                   "- `tool_call_arguments` must be valid JSON that strictly follows the tool's "
                   "Parameters Schema\n"
                   "- For multiple tool calls, chain them directly without separators or spaces\n",
                   kCallsBegin, kCallBegin, kSeparator, kCallEnd, kCallsEnd);
}

Result<std::string> encode_v31(const std::vector<Message>& messages,
                               const DeepSeekOptions& options) {
  std::string system = joined_system(messages);
  if (options.tools.is_array() && !options.tools.empty()) {
    FERRY_TRY(const std::string tools, v31_tools(options.tools));
    system += (system.empty() ? "" : "\n\n") + tools;
  }
  std::string out = options.bos + system;
  std::string last;
  for (const Message& message : messages) {
    if (message.role == "system") continue;
    if (message.role == "user") out += kUser + message.content;
    if (message.role == "assistant") {
      if (last == "user") out += fmt::format("{}</think>", kAssistant);
      out += message.content;
      if (!message.calls.empty()) {
        out += kCallsBegin;
        for (const Call& call : message.calls) {
          out += kCallBegin + call.name + kSeparator + call.arguments + kCallEnd;
        }
        out += kCallsEnd;
      }
      out += options.eos;
    }
    if (message.role == "tool") out += kOutputBegin + message.content + kOutputEnd;
    last = message.role;
  }
  if (options.add_generation_prompt && last == "user") {
    out += fmt::format("{}{}", kAssistant, options.thinking ? "<think>" : "</think>");
  }
  return out;
}

}  // namespace

Result<std::string> encode_deepseek(DeepSeekFormat format, const Json& messages,
                                    const DeepSeekOptions& options) {
  FERRY_TRY(const std::vector<Message> read, read_messages(messages));
  const bool has_tools = options.tools.is_array() && !options.tools.empty();
  if (has_tools && format != DeepSeekFormat::kV31) {
    return unsupported("tools: this chat format of DeepSeek has no place for them");
  }
  if (options.thinking_given && options.thinking &&
      (format == DeepSeekFormat::kV2 || format == DeepSeekFormat::kV3)) {
    return unsupported("thinking: this model was not made to think before it answers");
  }
  switch (format) {
    case DeepSeekFormat::kV2: return encode_v2(read, options);
    case DeepSeekFormat::kV3: return encode_v3(read, options, false);
    case DeepSeekFormat::kR1: return encode_v3(read, options, true);
    case DeepSeekFormat::kV31: return encode_v31(read, options);
  }
  return invalid_input("unknown chat format");
}

std::optional<DeepSeekFormat> deepseek_format_for(
    std::string_view model_type, const std::function<bool(std::string_view)>& has_token) {
  if (!has_token(kUser)) {
    return model_type == "deepseek_v2" ? std::optional(DeepSeekFormat::kV2) : std::nullopt;
  }
  if (model_type == "deepseek_v2") return DeepSeekFormat::kV3;  // V2.5 moved to V3's tokens
  if (model_type == "deepseek_v3") {
    return has_token("<think>") ? DeepSeekFormat::kV31 : DeepSeekFormat::kV3;
  }
  // R1's distills keep the type of their base and add DeepSeek's tokens to its vocabulary.
  return has_token("<think>") ? std::optional(DeepSeekFormat::kR1) : std::nullopt;
}

std::string python_json(const Json& value) {
  if (value.is_object()) {
    std::string out = "{";
    for (const auto& [key, item] : value.items()) {
      if (out.size() > 1) out += ", ";
      out +=
          Json(key).dump(-1, ' ', false, Json::error_handler_t::replace) + ": " + python_json(item);
    }
    return out + "}";
  }
  if (value.is_array()) {
    std::string out = "[";
    for (const Json& item : value) out += (out.size() > 1 ? ", " : "") + python_json(item);
    return out + "]";
  }
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ferry::text
