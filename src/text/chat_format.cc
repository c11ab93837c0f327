#include "text/chat_format.h"

#include <utility>

#include "base/quote_name.h"

namespace ferry::text {
namespace {

// ["text" parts] → one string. Other parts (images, audio) need a model that ferry does not run.
Result<Json> joined_content(const Json& parts, size_t message) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Json& part = parts[i];
    const std::string where = fmt::format("messages[{}].content[{}]", message, i);
    if (!part.is_object()) {
      return invalid_input("{}: expected an object, found {}", where, json_type_name(part));
    }
    auto type = json_string(part, "type");
    if (!type.ok()) return type.error().in(where);
    if (*type != "text") {
      return unsupported("{}: type {} is not supported, only \"text\"", where, quote_name(*type));
    }
    auto piece = json_string(part, "text");
    if (!piece.ok()) return piece.error().in(where);
    text += *piece;
  }
  return Json(std::move(text));
}

// Tool calls with their arguments as objects, or as JSON text.
Status convert_arguments(Json& calls, bool objects, size_t message) {
  if (!calls.is_array()) {
    return invalid_input("messages[{}].tool_calls: expected an array, found {}", message,
                         json_type_name(calls));
  }
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string where = fmt::format("messages[{}].tool_calls[{}]", message, i);
    if (!calls[i].is_object()) return invalid_input("{}: expected an object", where);
    Json& function = calls[i].contains("function") ? calls[i]["function"] : calls[i];
    if (!function.is_object() || !function.contains("arguments")) continue;
    Json& arguments = function["arguments"];
    if (objects && arguments.is_string()) {
      // Text that is no JSON is passed on as it is: models do write such.
      auto parsed = parse_json(arguments.get_ref<const std::string&>(), {.max_bytes = 32 << 20});
      if (parsed.ok() && parsed->is_object()) arguments = std::move(*parsed);
    } else if (!objects && !arguments.is_string()) {
      arguments = python_json(arguments);
    }
  }
  return {};
}

Result<Json> normalized(const Json& messages, bool object_arguments) {
  if (!messages.is_array()) {
    return invalid_input("messages: expected an array, found {}", json_type_name(messages));
  }
  Json out = messages;
  for (size_t i = 0; i < out.size(); ++i) {
    Json& message = out[i];
    if (!message.is_object()) {
      return invalid_input("messages[{}]: expected an object, found {}", i,
                           json_type_name(message));
    }
    auto role = json_string(message, "role");
    if (!role.ok()) return role.error().in(fmt::format("messages[{}]", i));
    const bool has_content = message.contains("content");
    if (has_content && message["content"].is_array()) {
      FERRY_TRY(message["content"], joined_content(message["content"], i));
    } else if (has_content && !message["content"].is_string() && !message["content"].is_null()) {
      return invalid_input("messages[{}].content: expected a string, found {}", i,
                           json_type_name(message["content"]));
    }
    if (message.contains("tool_calls") && !message["tool_calls"].is_null()) {
      FERRY_TRY_VOID(convert_arguments(message["tool_calls"], object_arguments, i));
    }
  }
  return out;
}

}  // namespace

Result<ChatFormat> ChatFormat::from_template(std::string_view source, std::string bos,
                                             std::string eos) {
  auto parsed = ChatTemplate::parse(source);
  if (!parsed.ok()) return parsed.error().in("chat template");
  ChatFormat format;
  format.template_ = std::move(*parsed);
  format.bos_ = std::move(bos);
  format.eos_ = std::move(eos);
  format.probe_arguments();
  return format;
}

ChatFormat ChatFormat::deepseek(DeepSeekFormat deepseek, std::string bos, std::string eos) {
  ChatFormat format;
  format.deepseek_ = deepseek;
  format.bos_ = std::move(bos);
  format.eos_ = std::move(eos);
  return format;
}

// Some templates write `arguments | tojson` and want an object; others join strings. A template
// that turns {"ferry": "probe"} into that very JSON wants objects.
void ChatFormat::probe_arguments() {
  const Json call = {{"id", "call_0"},
                     {"type", "function"},
                     {"function", {{"name", "f"}, {"arguments", {{"ferry", "probe"}}}}}};
  const Json messages = {{{"role", "user"}, {"content", "q"}},
                         {{"role", "assistant"}, {"content", ""}, {"tool_calls", {call}}}};
  auto rendered = render_template(messages, ChatRequest{.add_generation_prompt = false},
                                  {.max_steps = 1'000'000, .max_output_bytes = 1 << 20});
  object_arguments_ =
      rendered.ok() && (rendered->find("\"ferry\": \"probe\"") != std::string::npos ||
                        rendered->find("\"ferry\":\"probe\"") != std::string::npos);
}

Result<std::string> ChatFormat::render_template(const Json& messages, const ChatRequest& request,
                                                const RenderLimits& limits) const {
  Json context = Json::object();
  context["messages"] = messages;
  context["add_generation_prompt"] = request.add_generation_prompt;
  context["bos_token"] = bos_;
  context["eos_token"] = eos_;
  if (request.tools.is_array() && !request.tools.empty()) context["tools"] = request.tools;
  if (request.thinking) {
    context["thinking"] = *request.thinking;         // DeepSeek, Kimi
    context["enable_thinking"] = *request.thinking;  // Qwen
  }
  for (const auto& [key, value] : request.extra.items()) context[key] = value;
  auto rendered = template_->render(context, limits);
  if (!rendered.ok()) return rendered.error().in("chat template");
  return rendered;
}

Result<std::string> ChatFormat::render(const ChatRequest& request,
                                       const RenderLimits& limits) const {
  FERRY_TRY(const Json messages, normalized(request.messages, template_ && object_arguments_));
  if (!request.extra.is_object()) return invalid_input("extra: expected an object");
  if (template_) return render_template(messages, request, limits);
  const Json* effort = json_find(request.extra, "reasoning_effort");
  return encode_deepseek(deepseek_, messages,
                         {.tools = request.tools,
                          .thinking = request.thinking.value_or(false),
                          .thinking_given = request.thinking.has_value(),
                          .most_effort = effort != nullptr && *effort == "max",
                          .add_generation_prompt = request.add_generation_prompt,
                          .bos = bos_,
                          .eos = eos_});
}

}  // namespace ferry::text
