// Tool calls between markers, with the arguments as JSON text: DeepSeek V3 and V3.1, Kimi K2.
//
//   section_begin (call_begin head separator arguments call_end)* section_end
//
// The head is the name (V3.1), "function" with the name behind the separator (V3), or
// "functions.{name}:{index}" (Kimi). V3 and V3.1 are told apart call by call, by what follows the
// separator: checkpoints and their templates do not always agree. Arguments may stand in a fence
// of backticks, which is dropped.
#include <array>

#include "text/tool_call_parsers.h"

namespace ferry::text {
namespace {

struct Markers {
  std::string_view section_begin;
  std::string_view call_begin;
  std::string_view separator;
  std::string_view call_end;
  std::string_view section_end;
};

constexpr Markers kDeepSeek{"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
                            "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"};
constexpr Markers kKimi{"<|tool_calls_section_begin|>", "<|tool_call_begin|>",
                        "<|tool_call_argument_begin|>", "<|tool_call_end|>",
                        "<|tool_calls_section_end|>"};

constexpr std::string_view kBackticks = "```";
constexpr size_t kMaxMarkedHead = 512;  // bytes before the separator, and of a name behind it
constexpr size_t kMaxTail = 16;         // bytes behind arguments that may be space and a fence

class MarkedCallParser : public ToolCallParser {
 public:
  MarkedCallParser(bool kimi, ToolCallOptions options)
      : ToolCallParser(std::move(options)), kimi_(kimi), markers_(kimi ? kKimi : kDeepSeek) {}

 private:
  enum class State { kText, kSection, kHead, kName, kFence, kArguments };

  bool step(bool last) override {
    switch (state_) {
      case State::kText: return text(last);
      case State::kSection: return section(last);
      case State::kHead: return head(last);
      case State::kName: return name(last);
      case State::kFence: return fence(last);
      case State::kArguments: return arguments(last);
    }
    return false;
  }

  bool text(bool last) {
    if (behind_section_ && !skip_space()) return false;
    raw_.clear();  // the space that was skipped
    if (!pending_.empty()) behind_section_ = false;
    const std::array openings{markers_.section_begin};
    if (!seek(openings, false, last)) return false;
    take_raw(markers_.section_begin.size());
    state_ = State::kSection;
    return true;
  }

  bool section(bool last) {
    if (!skip_space()) return last && give_up();
    if (match(markers_.call_begin, last) == Match::kYes) {
      take_raw(markers_.call_begin.size());
      state_ = State::kHead;
      return true;
    }
    if (match(markers_.section_end, last) == Match::kYes) {
      drop(markers_.section_end.size());
      raw_.clear();
      behind_section_ = true;
      state_ = State::kText;
      return true;
    }
    const bool undecided = match(markers_.call_begin, last) == Match::kMaybe ||
                           match(markers_.section_end, last) == Match::kMaybe;
    return !undecided && give_up();
  }

  bool head(bool last) {
    const size_t end = find(markers_.separator);
    if (end == std::string::npos) {
      return (last || pending_.size() > kMaxMarkedHead + markers_.separator.size()) && give_up();
    }
    head_ = trimmed(std::string_view(pending_).substr(0, end));
    if (end > kMaxMarkedHead || !is_function_name(head_)) return give_up();
    take_raw(end + markers_.separator.size());
    state_ = State::kName;
    return true;
  }

  bool name(bool last) {
    if (kimi_) return kimi_name();
    if (head_ != "function") return open(head_);
    // Of a tool that is called "function", or of the older form?
    if (!skip_space()) return last && give_up();
    if (pending_.front() == '{') return open(head_);
    const size_t end = find("\n");
    if (end == std::string::npos) return (last || pending_.size() > kMaxMarkedHead) && give_up();
    const std::string_view name = trimmed(std::string_view(pending_).substr(0, end));
    if (end > kMaxMarkedHead || !is_function_name(name)) return give_up();
    const std::string kept(name);
    drop(end);
    return open(kept);
  }

  bool kimi_name() {
    constexpr std::string_view kPrefix = "functions.";
    const size_t colon = head_.rfind(':');
    if (!head_.starts_with(kPrefix) || colon == std::string::npos || colon <= kPrefix.size()) {
      return open(head_);
    }
    // Results are matched to calls by this very id, in the prompts of later turns.
    return open(head_.substr(kPrefix.size(), colon - kPrefix.size()), head_);
  }

  bool open(const std::string& name, const std::string& id = {}) {
    open_call(name, id);
    state_ = State::kFence;
    return true;
  }

  bool fence(bool last) {
    const bool has_text = skip_space();
    raw_.clear();
    if (!has_text) return false;
    const Match found = match(kBackticks, last);
    if (found == Match::kMaybe) return false;
    fenced_ = found == Match::kYes;
    if (fenced_) {
      const Match json = match("```json", last);
      if (json == Match::kMaybe) return false;
      drop(json == Match::kYes ? 7 : kBackticks.size());
    }
    at_begin_ = true;
    state_ = State::kArguments;
    return true;
  }

  bool arguments(bool last) {
    if (at_begin_) {
      const bool has_text = skip_space();
      raw_.clear();
      if (!has_text) return false;
      at_begin_ = false;
    }
    const size_t call_end = pending_.find(markers_.call_end);
    const size_t section_end = pending_.find(markers_.section_end);
    const size_t end = std::min(call_end, section_end);
    if (end == std::string::npos && !last) {
      const size_t certain = without_tail(pending_.size() - partial_marker());
      emit_arguments(take(certain));
      return false;
    }
    std::string rest = take(end);
    rest.resize(stripped(rest));
    emit_arguments(rest);
    if (end == std::string::npos) return false;  // cut off
    if (call_end == end) drop(markers_.call_end.size());
    close_call("{}");
    state_ = State::kSection;
    return true;
  }

  // Bytes at the end of pending_ that may be the beginning of a marker.
  size_t partial_marker() const {
    const std::string_view text = pending_;
    for (size_t n = std::min(text.size(), markers_.section_end.size()); n > 0; --n) {
      const std::string_view end = text.substr(text.size() - n);
      if (markers_.call_end.starts_with(end) || markers_.section_end.starts_with(end)) return n;
    }
    return 0;
  }

  bool is_tail(char c) const {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || (fenced_ && c == '`');
  }

  size_t without_tail(size_t end) const {
    size_t begin = end;
    while (begin > 0 && end - begin < kMaxTail && is_tail(pending_[begin - 1])) --begin;
    return begin;
  }

  // The length of `text` without space and a fence at its end.
  size_t stripped(std::string_view text) const {
    const auto without_space = [&](size_t end) {
      while (end > 0 && text.size() - end < kMaxTail && is_tail(text[end - 1]) &&
             text[end - 1] != '`') {
        --end;
      }
      return end;
    };
    size_t end = without_space(text.size());
    if (fenced_ && text.substr(0, end).ends_with(kBackticks) &&
        text.size() - end + kBackticks.size() <= kMaxTail) {
      end = without_space(end - kBackticks.size());
    }
    return end;
  }

  // What was taken for markup is none.
  bool give_up() {
    restore();
    state_ = State::kText;
    return true;
  }

  const bool kimi_;
  const Markers markers_;
  State state_ = State::kText;
  bool behind_section_ = false;
  std::string head_;
  bool fenced_ = false;
  bool at_begin_ = false;
};

}  // namespace

std::unique_ptr<ToolCallParser> make_marked_call_parser(ToolFormat format,
                                                        ToolCallOptions options) {
  return std::make_unique<MarkedCallParser>(format == ToolFormat::kKimiK2, std::move(options));
}

}  // namespace ferry::text
