// See tool_calls.h. What the parsers of all formats share.
#include "text/tool_calls.h"

#include <algorithm>
#include <utility>

#include "text/tool_call_parsers.h"

namespace ferry::text {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
// Newlines that are taken for a part of the markup behind them. More are never held back.
constexpr size_t kMaxNewlines = 8;

// Length of the longest end of `text` that is a beginning of `marker`, the whole marker excluded.
size_t partial_match(std::string_view text, std::string_view marker) {
  for (size_t n = std::min(text.size(), marker.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == marker.substr(0, n)) return n;
  }
  return 0;
}

size_t newlines_before(std::string_view text, size_t end) {
  size_t count = 0;
  while (count < kMaxNewlines && count < end && text[end - count - 1] == '\n') ++count;
  return count;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

bool is_function_name(std::string_view name) {
  constexpr size_t kMaxBytes = 128;
  return !name.empty() && name.size() <= kMaxBytes &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || c == '.' || c == ':' || c == '/';
         });
}

ToolCallParser::Output ToolCallParser::push(std::string_view text) {
  if (!satisfied_) pending_ += text;
  while (!satisfied_ && step(false)) {
  }
  return std::exchange(out_, {});
}

ToolCallParser::Output ToolCallParser::finish() {
  while (!satisfied_ && step(true)) {
  }
  pending_.clear();
  return std::exchange(out_, {});
}

bool ToolCallParser::seek(std::span<const std::string_view> openings, bool with_newlines,
                          bool last) {
  size_t found = std::string::npos;
  size_t held = 0;
  for (std::string_view opening : openings) {
    found = std::min(found, pending_.find(opening));
    if (!last) held = std::max(held, partial_match(pending_, opening));
  }
  const bool is_found = found != std::string::npos;
  const size_t certain = is_found ? found : pending_.size() - held;
  const bool hold_newlines = with_newlines && (is_found || !last);
  const size_t newlines = hold_newlines ? newlines_before(pending_, certain) : 0;
  emit_text(take(certain - newlines));
  if (is_found) raw_ = take(newlines);
  return is_found;
}

ToolCallParser::Match ToolCallParser::match(std::string_view marker, bool last) const {
  const std::string_view front = std::string_view(pending_).substr(0, marker.size());
  if (front == marker) return Match::kYes;
  return !last && marker.substr(0, front.size()) == front ? Match::kMaybe : Match::kNo;
}

size_t ToolCallParser::find(std::string_view marker) {
  const size_t found = pending_.find(marker, searched_);
  if (found != std::string::npos) return found;
  if (pending_.size() >= marker.size()) searched_ = pending_.size() - marker.size() + 1;
  return found;
}

std::string ToolCallParser::take(size_t count) {
  searched_ = 0;
  std::string front = pending_.substr(0, count);
  pending_.erase(0, count);
  return front;
}

bool ToolCallParser::skip_space() {
  take_raw(std::min(pending_.find_first_not_of(kSpace), pending_.size()));
  return !pending_.empty();
}

void ToolCallParser::restore() { emit_text(std::exchange(raw_, {})); }

void ToolCallParser::open_call(std::string name, std::string id) {
  if (id.empty() && options_.new_id) id = options_.new_id();
  out_.calls.push_back({next_index_++, std::move(id), std::move(name), {}});
  has_arguments_ = false;
  raw_.clear();
}

void ToolCallParser::emit_arguments(std::string_view text) {
  if (text.empty()) return;
  has_arguments_ = true;
  const int64_t index = next_index_ - 1;
  if (out_.calls.empty() || out_.calls.back().index != index)
    out_.calls.push_back({index, {}, {}, {}});
  out_.calls.back().arguments += text;
}

void ToolCallParser::close_call(std::string_view otherwise) {
  if (!has_arguments_) emit_arguments(otherwise);
  satisfied_ = !options_.parallel;
  if (satisfied_) pending_.clear();
}

const Json* ToolCallParser::function_named(std::string_view name) const {
  for (const Json& tool : options_.tools) {
    const Json* function = tool.is_object() ? json_find(tool, "function") : nullptr;
    if (function == nullptr || !function->is_object()) continue;
    const Json* known = json_find(*function, "name");
    if (known != nullptr && known->is_string() && known->get_ref<const std::string&>() == name) {
      return function;
    }
  }
  return nullptr;
}

bool ToolCallParser::knows(std::string_view function) const {
  return function_named(function) != nullptr;
}

Json ToolCallParser::parameter_schema(std::string_view function, std::string_view parameter) const {
  const Json* schema = function_named(function);
  for (std::string_view key :
       {std::string_view("parameters"), std::string_view("properties"), parameter}) {
    if (schema == nullptr || !schema->is_object()) return nullptr;
    schema = json_find(*schema, key);
  }
  return schema != nullptr ? *schema : Json(nullptr);
}

std::unique_ptr<ToolCallParser> make_tool_call_parser(ToolFormat format, ToolCallOptions options) {
  if (!options.tools.is_array()) options.tools = Json::array();
  switch (format) {
    case ToolFormat::kDeepSeekV3:
    case ToolFormat::kDeepSeekV31:
    case ToolFormat::kKimiK2: return make_marked_call_parser(format, std::move(options));
    case ToolFormat::kDeepSeekV32:
    case ToolFormat::kDeepSeekV4:
    case ToolFormat::kQwenXml: return make_tagged_call_parser(format, std::move(options));
    case ToolFormat::kHermes:
    case ToolFormat::kLlama3: return make_json_call_parser(format, std::move(options));
  }
  return nullptr;
}

}  // namespace ferry::text
