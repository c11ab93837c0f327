// Tool calls with an element for each argument: DeepSeek's DSML (V3.2, V4) and the XML-like markup
// of Qwen3-Coder. Arguments become a JSON object as they come:
//
//   <｜DSML｜invoke name="f">              open   {
//   <｜DSML｜parameter name="k" string="true">v   "k": "v
//   </｜DSML｜parameter>                          "
//   </｜DSML｜invoke>                             }
//
// Texts are streamed. Other values are JSON of their own; they are held until they are whole, and
// one that is no JSON becomes a text, so that the arguments of a whole call always parse.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "text/deepseek_encoding.h"
#include "text/tool_call_parsers.h"

namespace ferry::text {
namespace {

struct Tags {
  // The first of a call; what only names the call may stand without a section around it.
  std::array<std::string_view, 2> openings;
  std::array<std::string_view, 2> section_ends;
  std::string_view call_begin;  // … name …
  std::string_view name_end;    // … of call and parameter
  std::string_view call_end;
  std::string_view parameter_begin;  // … name …
  std::string_view parameter_end;
};

// V3.2 and V4 differ in the name of the section only; either is understood.
constexpr Tags kDsml{{"<｜DSML｜function_calls>", "<｜DSML｜tool_calls>"},
                     {"</｜DSML｜function_calls>", "</｜DSML｜tool_calls>"},
                     "<｜DSML｜invoke name=\"",
                     "\"",
                     "</｜DSML｜invoke>",
                     "<｜DSML｜parameter name=\"",
                     "</｜DSML｜parameter>"};
// The model forgets <tool_call> now and then.
constexpr Tags kQwen{{"<tool_call>", "<function="},
                     {"</tool_call>", "</tool_call>"},
                     "<function=",
                     ">",
                     "</function>",
                     "<parameter=",
                     "</parameter>"};

constexpr size_t kMaxName = 256;       // bytes of a name and its attributes
constexpr size_t kMaxValue = 1 << 20;  // bytes of a value that must be whole

std::string json_text(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// As inside of a JSON string. Bytes of UTF-8 stay as they are, so a character may be cut anywhere.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

class TaggedCallParser : public ToolCallParser {
 public:
  TaggedCallParser(bool dsml, ToolCallOptions options)
      : ToolCallParser(std::move(options)), dsml_(dsml), tags_(dsml ? kDsml : kQwen) {}

 private:
  enum class State { kText, kSection, kName, kCall, kParameter, kString, kValue, kRaw };

  bool step(bool last) override {
    switch (state_) {
      case State::kText: return text(last);
      case State::kSection: return section(last);
      case State::kName: return name(last);
      case State::kCall: return call(last);
      case State::kParameter: return parameter(last);
      case State::kString: return string(last);
      case State::kValue: return value(last);
      case State::kRaw: return raw(last);
    }
    return false;
  }

  bool text(bool last) {
    if (behind_section_ && !skip_space()) return false;
    raw_.clear();  // the space that was skipped
    if (!pending_.empty()) behind_section_ = false;
    if (!seek(tags_.openings, true, last)) return false;
    for (std::string_view opening : tags_.openings) {
      if (opening == tags_.call_begin || match(opening, true) != Match::kYes) continue;
      take_raw(opening.size());
      break;
    }
    state_ = State::kSection;
    return true;
  }

  bool section(bool last) {
    if (!skip_space()) return last && give_up();
    Match best = match(tags_.call_begin, last);
    if (best == Match::kYes) {
      take_raw(tags_.call_begin.size());
      state_ = State::kName;
      return true;
    }
    for (std::string_view end : tags_.section_ends) {
      const Match found = match(end, last);
      if (found == Match::kMaybe) best = found;
      if (found != Match::kYes) continue;
      drop(end.size());
      raw_.clear();
      behind_section_ = true;
      state_ = State::kText;
      return true;
    }
    return best != Match::kMaybe && give_up();
  }

  // The rest of a tag whose name begins here: name, attributes. nullopt: more must come.
  std::optional<std::pair<std::string, std::string>> tag(bool last) {
    const size_t end = find(">");
    if (end == std::string::npos && !last && pending_.size() <= kMaxName) return std::nullopt;
    if (end == std::string::npos || end > kMaxName) return std::pair<std::string, std::string>();
    const std::string_view inside = std::string_view(pending_).substr(0, end + 1);
    const size_t name_end = inside.find(tags_.name_end);
    if (name_end == std::string_view::npos) return std::pair<std::string, std::string>();
    return std::pair(std::string(inside.substr(0, name_end)), std::string(inside.substr(name_end)));
  }

  bool name(bool last) {
    const auto found = tag(last);
    if (!found.has_value()) return false;
    function_ = trimmed(found->first);
    if (!is_function_name(function_)) return give_up();
    drop(found->first.size() + found->second.size());
    open_call(function_);
    num_parameters_ = 0;
    state_ = State::kCall;
    return true;
  }

  bool call(bool last) {
    const bool has_text = skip_space();
    raw_.clear();
    if (!has_text) return false;
    const Match parameter = match(tags_.parameter_begin, last);
    const Match end = match(tags_.call_end, last);
    if (parameter == Match::kYes) {
      take_raw(tags_.parameter_begin.size());
      state_ = State::kParameter;
      return true;
    }
    if (end == Match::kYes) {
      drop(tags_.call_end.size());
      return close();
    }
    if (parameter == Match::kMaybe || end == Match::kMaybe) return false;
    if (num_parameters_ == 0 && pending_.front() == '{') {
      state_ = State::kRaw;
      return true;
    }
    if (last && is_cut_off()) {
      pending_.clear();
      return false;
    }
    // No element of a call: it ends here.
    close();
    return give_up();
  }

  // The end of the answer is in the middle of a tag, which would mean nothing to a reader.
  bool is_cut_off() const {
    return match(tags_.parameter_begin, false) == Match::kMaybe ||
           match(tags_.call_end, false) == Match::kMaybe;
  }

  bool close() {
    if (num_parameters_ > 0) emit_arguments("}");
    close_call("{}");
    state_ = State::kSection;
    return true;
  }

  bool parameter(bool last) {
    const auto found = tag(last);
    if (!found.has_value()) return false;
    if (found->second.empty() || found->first.empty()) {
      if (last && find(">") == std::string::npos) {  // cut off in the middle of the tag
        pending_.clear();
        return false;
      }
      close();
      return give_up();
    }
    drop(found->first.size() + found->second.size());
    raw_.clear();
    const std::string key(dsml_ ? std::string_view(found->first) : trimmed(found->first));
    emit_arguments((num_parameters_++ == 0 ? "{" : ", ") + json_text(key) + ": ");
    const bool is_text = dsml_ ? found->second.find("string=\"false\"") == std::string::npos
                               : is_text_parameter(key);
    if (is_text) emit_arguments("\"");
    at_begin_ = true;
    state_ = is_text ? State::kString : State::kValue;
    return true;
  }

  // Qwen's markup has no types; the tool's schema says what a value is.
  bool is_text_parameter(const std::string& key) const {
    const Json schema = parameter_schema(function_, key);
    if (!schema.is_object()) return true;
    const Json* type = json_find(schema, "type");
    if (type != nullptr && type->is_string()) return *type == "string";
    if (type != nullptr) return false;
    const Json* choices = json_find(schema, "enum");
    if (choices == nullptr || !choices->is_array()) return schema.empty();
    return std::all_of(choices->begin(), choices->end(),
                       [](const Json& choice) { return choice.is_string(); });
  }

  bool string(bool last) {
    // Qwen writes values on lines of their own.
    if (!dsml_ && at_begin_) {
      if (pending_.empty()) return false;
      if (pending_.front() == '\n') drop(1);
    }
    at_begin_ = false;
    const size_t end = pending_.find(tags_.parameter_end);
    if (end == std::string::npos) {
      emit_arguments(escaped(take(last ? pending_.size() : certain_text())));
      return false;
    }
    std::string rest = take(end);
    if (!dsml_ && rest.ends_with('\n')) rest.pop_back();
    drop(tags_.parameter_end.size());
    emit_arguments(escaped(rest) + "\"");
    state_ = State::kCall;
    return true;
  }

  // Bytes of pending_ that are neither the beginning of the end nor the newline before it.
  size_t certain_text() const {
    const std::string_view text = pending_;
    size_t certain = text.size();
    for (size_t n = std::min(text.size(), tags_.parameter_end.size()); n > 0; --n) {
      if (!tags_.parameter_end.starts_with(text.substr(text.size() - n))) continue;
      certain = text.size() - n;
      break;
    }
    const bool newline = !dsml_ && certain > 0 && text[certain - 1] == '\n';
    return newline ? certain - 1 : certain;
  }

  bool value(bool last) {
    const size_t end = find(tags_.parameter_end);
    const bool too_long = pending_.size() > kMaxValue + tags_.parameter_end.size();
    if (end == std::string::npos && !last && !too_long) return false;
    if (end == std::string::npos || end > kMaxValue) {
      // Too long to be held, or cut off: as the model wrote it.
      if (!last) {
        state_ = State::kRaw;
        return true;
      }
      emit_arguments(trimmed(take(pending_.size())));
      return false;
    }
    const std::string written = take(end);
    drop(tags_.parameter_end.size());
    const std::string_view text = trimmed(written);
    emit_arguments(parse_json(text).ok() ? std::string(text) : json_text(text));
    state_ = State::kCall;
    return true;
  }

  // Arguments as one JSON text, or what else stands in a call: up to its end.
  bool raw(bool last) {
    const size_t end = pending_.find(tags_.call_end);
    if (end == std::string::npos) {
      size_t certain = pending_.size();
      for (size_t n = std::min(certain, tags_.call_end.size()); n > 0 && !last; --n) {
        if (!tags_.call_end.starts_with(std::string_view(pending_).substr(certain - n))) continue;
        certain -= n;
        break;
      }
      emit_arguments(take(certain));
      return false;
    }
    emit_arguments(take(end));
    drop(tags_.call_end.size());
    close_call("{}");
    state_ = State::kSection;
    return true;
  }

  // What was taken for markup is none.
  bool give_up() {
    if (satisfied()) return true;
    restore();
    state_ = State::kText;
    return true;
  }

  const bool dsml_;
  const Tags tags_;
  State state_ = State::kText;
  bool behind_section_ = false;
  std::string function_;
  int64_t num_parameters_ = 0;
  bool at_begin_ = false;
};

}  // namespace

std::unique_ptr<ToolCallParser> make_tagged_call_parser(ToolFormat format,
                                                        ToolCallOptions options) {
  return std::make_unique<TaggedCallParser>(format != ToolFormat::kQwenXml, std::move(options));
}

}  // namespace ferry::text
