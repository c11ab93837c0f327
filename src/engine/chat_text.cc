// See chat_text.h.
#include "engine/chat_text.h"

#include <fmt/format.h>

#include <random>

#include "base/json.h"

namespace ferry::engine {
namespace {

constexpr JsonLimits kChatLimits{.max_bytes = 32 << 20, .max_depth = 128, .max_values = 1'000'000};
constexpr std::string_view kOpenReasoning = "<think>";
constexpr std::string_view kCloseReasoning = "</think>";

bool ends_in_opening(std::string_view prompt) {
  const size_t end = prompt.find_last_not_of(" \t\r\n");
  return end != std::string_view::npos && prompt.substr(0, end + 1).ends_with(kOpenReasoning);
}

std::string spelling(const text::Tokenizer& tokenizer, std::optional<int32_t> id) {
  return id.has_value() ? std::string(tokenizer.token_bytes(*id)) : std::string();
}

// A JSON text of a request, empty for `fallback`.
Result<Json> parse_field(const char* field, const std::string& text, Json fallback,
                         bool wants_array) {
  if (text.empty()) return fallback;
  Result<Json> value = parse_json(text, kChatLimits);
  if (!value.ok()) return value.error().in(field);
  if (wants_array ? !value->is_array() : !value->is_object()) {
    return invalid_input("{}: expected {}, found {}", field, wants_array ? "an array" : "an object",
                         json_type_name(*value));
  }
  return value;
}

// What an unfinished message of the assistant has so far.
struct Unfinished {
  std::string content;
  std::string reasoning;
};

// Takes it off, so that the format opens an answer in its place: with thoughts where the message
// has some, without where it has not.
Result<Unfinished> take_unfinished(text::ChatRequest& request) {
  const Json last = request.messages.back();
  const size_t index = request.messages.size() - 1;
  const auto role = last.is_object() ? json_string_or(last, "role", "") : Result<std::string>("");
  if (!role.ok() || *role != "assistant") {
    return invalid_input("messages[{}]: only an assistant's text can be continued", index);
  }
  if (index == 0) return invalid_input("messages: nothing comes before the answer");
  Unfinished out;
  FERRY_TRY(out.content, json_string_or(last, "content", ""));
  FERRY_TRY(out.reasoning, json_string_or(last, "reasoning_content", ""));
  request.messages.erase(index);
  request.thinking = !out.reasoning.empty();
  return out;
}

// Ids must not meet again in the later turns of a conversation, whichever server answers them.
std::string new_call_id() {
  thread_local std::mt19937_64 generator([] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }());
  const uint64_t high = generator();
  return fmt::format("call_{:016x}{:08x}", high, static_cast<uint32_t>(generator()));
}

void continue_answer(const Unfinished& last, std::string& text) {
  if (ends_in_opening(text)) {
    text += last.reasoning;
    if (!last.content.empty()) text += kCloseReasoning;
  }
  text += last.content;
}

}  // namespace

ChatText::ChatText(const disk::ModelSource& source, const text::Tokenizer& tokenizer) {
  const std::string bos = spelling(tokenizer, tokenizer.bos_id());
  const std::string eos = spelling(tokenizer, tokenizer.eos_id());
  for (const auto& [name, text] : source.chat_templates) {
    const bool for_tools = name == "tool_use";
    if (format_.has_value() && !for_tools) continue;  // the default comes first
    Result<text::ChatFormat> format = text::ChatFormat::from_template(text, bos, eos);
    if (!format.ok()) {
      error_ = format.error().in(source.path);
      return;
    }
    (for_tools ? tool_format_ : format_) = std::move(format).value();
    if (for_tools || !call_format_.has_value()) {
      const auto calls = text::tool_format_of_template(text);
      if (calls.has_value()) call_format_ = calls;
    }
  }
  if (!format_.has_value()) format_ = tool_format_;
  if (format_.has_value()) return;
  const std::optional<text::DeepSeekFormat> family = text::deepseek_format_for(
      source.config.value("model_type", ""),
      [&](std::string_view token) { return tokenizer.token_id(token).has_value(); });
  if (family.has_value()) {
    format_ = text::ChatFormat::deepseek(*family, bos, eos);
    call_format_ = text::tool_format_of(*family);
  } else {
    error_ = unsupported(
        "{}: has no chat template, so it is no chat model (ferry complete "
        "continues a text with it)",
        source.path);
  }
}

Result<std::string> ChatText::render(const ChatPrompt& chat) const {
  if (error_.has_value()) return *error_;
  text::ChatRequest request;
  FERRY_TRY(request.messages, parse_field("messages", chat.messages_json, Json::array(), true));
  FERRY_TRY(request.tools, parse_field("tools", chat.tools_json, nullptr, true));
  FERRY_TRY(request.extra, parse_field("extra", chat.extra_json, Json::object(), false));
  if (request.messages.empty()) return invalid_input("messages: at least one is needed");
  request.thinking = chat.thinking;
  Unfinished last;
  if (chat.continue_last) {
    FERRY_TRY(last, take_unfinished(request));
  }
  const bool with_tools = !request.tools.is_null() && !request.tools.empty();
  const auto& format = with_tools && tool_format_.has_value() ? *tool_format_ : *format_;
  FERRY_TRY(std::string text, format.render(request));
  if (chat.continue_last) continue_answer(last, text);
  return text;
}

Result<Json> ChatText::tools(const ChatPrompt& chat) const {
  return parse_field("tools", chat.tools_json, Json::array(), true);
}

std::unique_ptr<text::ToolCallParser> ChatText::call_parser(const ChatPrompt& chat,
                                                            bool parallel) const {
  if (!call_format_.has_value()) return nullptr;
  Result<Json> tools = parse_field("tools", chat.tools_json, nullptr, true);
  if (!tools.ok() || tools->is_null() || tools->empty()) return nullptr;
  return text::make_tool_call_parser(
      *call_format_,
      {.tools = std::move(tools).value(), .new_id = new_call_id, .parallel = parallel});
}

bool opens_reasoning(const ChatPrompt& chat, std::string_view prompt) {
  if (!chat.continue_last) return ends_in_opening(prompt);
  const size_t open = prompt.rfind(kOpenReasoning);
  const size_t close = prompt.rfind(kCloseReasoning);
  return open != std::string_view::npos && (close == std::string_view::npos || close < open);
}

}  // namespace ferry::engine
