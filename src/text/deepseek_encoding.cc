#include "text/deepseek_encoding.h"

#include "base/quote_name.h"
#include "text/deepseek_messages.h"

namespace ferry::text {
namespace {

constexpr const char* kCallsBegin = "<｜tool▁calls▁begin｜>";
constexpr const char* kCallsEnd = "<｜tool▁calls▁end｜>";
constexpr const char* kCallBegin = "<｜tool▁call▁begin｜>";
constexpr const char* kCallEnd = "<｜tool▁call▁end｜>";
constexpr const char* kSeparator = "<｜tool▁sep｜>";
constexpr const char* kOutputsBegin = "<｜tool▁outputs▁begin｜>";
constexpr const char* kOutputsEnd = "<｜tool▁outputs▁end｜>";
constexpr const char* kOutputBegin = "<｜tool▁output▁begin｜>";
constexpr const char* kOutputEnd = "<｜tool▁output▁end｜>";

// What a message says without what was thought before, which is not shown to the model again.
std::string said(const DeepSeekMessage& message) {
  const size_t end = message.content.find(kCloseThoughts);
  return end == std::string::npos
             ? message.content
             : message.content.substr(end + std::string_view(kCloseThoughts).size());
}

Result<std::string> encode_v2(const std::vector<DeepSeekMessage>& messages,
                              const DeepSeekOptions& options) {
  std::string out = options.bos;
  for (const DeepSeekMessage& message : messages) {
    if (message.role == "system") out += message.content + "\n\n";
    if (message.role == "user") out += "User: " + message.content + "\n\n";
    if (message.role == "assistant") out += "Assistant: " + said(message) + options.eos;
    if (message.role == "tool" || !message.calls.empty()) {
      return unsupported("messages: the chat format of DeepSeek-V2 has no tool calls");
    }
  }
  if (options.add_generation_prompt) out += "Assistant:";
  return out;
}

std::string v3_calls(const std::vector<DeepSeekCall>& calls) {
  std::string out = kCallsBegin;
  for (size_t i = 0; i < calls.size(); ++i) {
    if (i > 0) out += "\n";
    out += fmt::format("{}function{}{}\n```json\n{}\n```{}", kCallBegin, kSeparator, calls[i].name,
                       calls[i].arguments, kCallEnd);
  }
  return out + kCallsEnd;
}

// The templates of V3 and R1 write calls and results but have no place for what can be called, so
// this is ferry's own wording, behind the system's.
Result<std::string> v3_tools(const Json& tools) {
  FERRY_TRY(const std::vector<Json> functions, tool_functions(tools));
  std::string out = fmt::format(
      "## Tools\nYou have access to the following tools. To call some of them, write exactly "
      "this, the arguments as valid JSON that follows the tool's parameters, and nothing "
      "behind it:\n"
      "{}{}function{}TOOL_NAME\n```json\n{{\"PARAMETER\": VALUE}}\n```{}{}\n"
      "Further calls follow {} on a line of their own, before {}.\n",
      kCallsBegin, kCallBegin, kSeparator, kCallEnd, kCallsEnd, kCallEnd, kCallsEnd);
  for (const Json& function : functions) {
    const Json* parameters = json_find(function, "parameters");
    out += fmt::format("\n### {}\nDescription: {}\nParameters: {}\n",
                       function["name"].get<std::string>(), function.value("description", ""),
                       parameters == nullptr ? "{}" : python_json(*parameters));
  }
  return out;
}

Result<std::string> system_with_tools(const std::vector<DeepSeekMessage>& messages,
                                      const DeepSeekOptions& options,
                                      Result<std::string> (*describe)(const Json& tools)) {
  std::string system = joined_system(messages);
  if (!has_tools(options)) return system;
  FERRY_TRY(const std::string tools, describe(options.tools));
  return system + (system.empty() ? "" : "\n\n") + tools;
}

// V3 and R1. Tool results stand between markers of their own; the answer follows them directly.
Result<std::string> encode_v3(const std::vector<DeepSeekMessage>& messages,
                              const DeepSeekOptions& options, bool thinks) {
  FERRY_TRY(const std::string system, system_with_tools(messages, options, v3_tools));
  std::string out = options.bos + system;
  bool in_outputs = false;
  for (const DeepSeekMessage& message : messages) {
    const bool is_output = message.role == "tool";
    if (in_outputs && !is_output) out += kOutputsEnd;
    const bool after_outputs = in_outputs && !is_output;
    if (message.role == "user") out += kUserMark + message.content;
    if (message.role == "assistant") {
      if (!after_outputs) out += kAssistantMark;
      out += said(message);
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
  if (options.add_generation_prompt) {
    out += thinks ? fmt::format("{}{}\n", kAssistantMark, kOpenThoughts) : kAssistantMark;
  }
  return out;
}

Result<std::string> v31_tools(const Json& tools) {
  FERRY_TRY(const std::vector<Json> functions, tool_functions(tools));
  std::string out = "## Tools\nYou have access to the following tools:\n\n";
  for (size_t i = 0; i < functions.size(); ++i) {
    const Json* parameters = json_find(functions[i], "parameters");
    out +=
        fmt::format("{}### {}\nDescription: {}\n\nParameters: {}\n", i > 0 ? "\n" : "",
                    functions[i]["name"].get<std::string>(), functions[i].value("description", ""),
                    parameters == nullptr ? "{}" : python_json(*parameters));
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

// Thoughts are left out of earlier turns, as in the template. They stay while tools are being
// called: clients send them back then, and without them the model would begin again.
Result<std::string> encode_v31(const std::vector<DeepSeekMessage>& messages,
                               const DeepSeekOptions& options) {
  FERRY_TRY(const std::string system, system_with_tools(messages, options, v31_tools));
  std::string out = options.bos + system;
  const int64_t last_user = last_user_index(messages);
  std::string last;
  for (size_t i = 0; i < messages.size(); ++i) {
    const DeepSeekMessage& message = messages[i];
    if (message.role == "system") continue;
    if (message.role == "user") out += kUserMark + message.content;
    if (message.role == "assistant") {
      const bool thought = options.thinking && static_cast<int64_t>(i) > last_user &&
                           !message.calls.empty() && !message.reasoning.empty();
      if (last == "user") {
        out += kAssistantMark;
        if (thought) out += kOpenThoughts + message.reasoning;
        out += kCloseThoughts;
      }
      out += said(message);
      if (!message.calls.empty()) {
        out += kCallsBegin;
        for (const DeepSeekCall& call : message.calls) {
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
    out += fmt::format("{}{}", kAssistantMark, options.thinking ? kOpenThoughts : kCloseThoughts);
  }
  return out;
}

}  // namespace

Result<std::string> encode_deepseek(DeepSeekFormat format, const Json& messages,
                                    const DeepSeekOptions& options) {
  FERRY_TRY(const std::vector<DeepSeekMessage> read, read_deepseek_messages(messages));
  if (has_tools(options) && format == DeepSeekFormat::kV2) {
    return unsupported("tools: the chat format of DeepSeek-V2 has no place for them");
  }
  for (const DeepSeekMessage& message : read) {
    if (message.task.empty() || format == DeepSeekFormat::kV4) continue;
    return unsupported("messages: task {}: only DeepSeek-V4 has tokens for tasks",
                       quote_name(message.task));
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
    case DeepSeekFormat::kV32: return encode_deepseek_v32(read, options);
    case DeepSeekFormat::kV4: return encode_deepseek_v4(read, options);
  }
  return invalid_input("unknown chat format");
}

std::optional<DeepSeekFormat> deepseek_format_for(
    std::string_view model_type, const std::function<bool(std::string_view)>& has_token) {
  if (!has_token(kUserMark)) {
    return model_type == "deepseek_v2" ? std::optional(DeepSeekFormat::kV2) : std::nullopt;
  }
  if (model_type == "deepseek_v2") return DeepSeekFormat::kV3;  // V2.5 moved to V3's tokens
  if (model_type == "deepseek_v4") return DeepSeekFormat::kV4;
  // V3.2-Exp still wrote as V3.1 did.
  if (model_type == "deepseek_v32") {
    return has_token("｜DSML｜") ? DeepSeekFormat::kV32 : DeepSeekFormat::kV31;
  }
  if (model_type == "deepseek_v3") {
    return has_token(kOpenThoughts) ? DeepSeekFormat::kV31 : DeepSeekFormat::kV3;
  }
  // R1's distills keep the type of their base and add DeepSeek's tokens to its vocabulary.
  return has_token(kOpenThoughts) ? std::optional(DeepSeekFormat::kR1) : std::nullopt;
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
