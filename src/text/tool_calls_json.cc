// Tool calls as JSON objects: Hermes (Qwen2.5, Qwen3), between tags, and Llama 3, where the whole
// answer is the object.
//
//   <tool_call>⏎{"name": "f", "arguments": {…}}⏎</tool_call>
//   <|python_tag|>{"name": "f", "parameters": {…}}; {…}
//
// Where the name comes first, arguments are streamed; an object in another order is held until it
// is whole. Llama 3 writes calls without a marker too: an answer that begins with such an object is
// a call if it names a tool of the request.
#include <algorithm>
#include <array>

#include "text/deepseek_encoding.h"
#include "text/json_scanner.h"
#include "text/tool_call_parsers.h"

namespace ferry::text {
namespace {

constexpr std::string_view kOpen = "<tool_call>";
constexpr std::string_view kClose = "</tool_call>";
constexpr std::string_view kPythonTag = "<|python_tag|>";
constexpr size_t kMaxHead = 1024;       // bytes before the arguments
constexpr size_t kMaxObject = 1 << 20;  // bytes of an object that must be whole

// Reads `{"name": "f", "arguments": ` from the front of a text that is still growing.
class HeadReader {
 public:
  explicit HeadReader(std::string_view text) : text_(text) {}

  enum class State { kMore, kNone, kRead };

  // kRead: name() and size(), the bytes up to the `{` of the arguments.
  State read() {
    literal("{");
    literal("\"name\"");
    literal(":");
    string();
    literal(",");
    key();
    literal(":");
    space();
    if (state_ == State::kRead && at_ == text_.size()) state_ = State::kMore;
    if (state_ == State::kRead && text_[at_] != '{') state_ = State::kNone;
    if (state_ == State::kMore && text_.size() > kMaxHead) state_ = State::kNone;
    if (at_ > kMaxHead) state_ = State::kNone;
    return state_;
  }

  const std::string& name() const { return name_; }
  size_t size() const { return at_; }

 private:
  void space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }

  void literal(std::string_view expected) {
    space();
    if (state_ != State::kRead) return;
    const std::string_view found = text_.substr(at_, expected.size());
    if (found == expected) {
      at_ += expected.size();
    } else {
      state_ = expected.starts_with(found) ? State::kMore : State::kNone;
    }
  }

  void key() {
    space();
    if (state_ != State::kRead) return;
    for (std::string_view expected : {"\"arguments\"", "\"parameters\""}) {
      const std::string_view found = text_.substr(at_, expected.size());
      if (found == expected) {
        at_ += expected.size();
        state_ = State::kRead;
        return;
      }
      state_ = expected.starts_with(found) ? State::kMore : state_;
    }
    if (state_ == State::kRead) state_ = State::kNone;
  }

  void string() {
    literal("\"");
    if (state_ != State::kRead) return;
    const size_t end = text_.find_first_of("\"\\", at_);
    if (end == std::string_view::npos) {
      state_ = State::kMore;
    } else if (text_[end] == '\\') {
      state_ = State::kNone;  // no name of a function
    } else {
      name_ = text_.substr(at_, end - at_);
      at_ = end + 1;
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  State state_ = State::kRead;
  std::string name_;
};

// What a whole object says; an empty name: it is no call.
struct WholeCall {
  std::string name;
  std::string arguments = "{}";
};

WholeCall read_whole(const Json& json) {
  WholeCall call;
  if (!json.is_object()) return call;
  const Json* function = json_find(json, "function");
  const Json& from = function != nullptr && function->is_object() ? *function : json;
  const Json* name = json_find(from, "name");
  if (name == nullptr || !name->is_string()) return call;
  const Json* arguments = json_find(from, "arguments");
  if (arguments == nullptr) arguments = json_find(from, "parameters");
  if (arguments != nullptr && arguments->is_string()) {
    call.arguments = arguments->get<std::string>();
  } else if (arguments != nullptr && arguments->is_object()) {
    call.arguments = python_json(*arguments);
  } else if (arguments != nullptr) {
    return call;
  }
  call.name = name->get<std::string>();
  return call;
}

class JsonCallParser : public ToolCallParser {
 public:
  JsonCallParser(bool llama, ToolCallOptions options)
      : ToolCallParser(std::move(options)), llama_(llama) {
    if (llama) state_ = State::kStart;
  }

 private:
  enum class State { kStart, kText, kObject, kWhole, kArguments, kTail, kRaw, kBehind };

  bool step(bool last) override {
    switch (state_) {
      case State::kStart: return start(last);
      case State::kText: return text(last);
      case State::kObject: return object(last);
      case State::kWhole: return whole(last);
      case State::kArguments: return arguments();
      case State::kTail: return tail();
      case State::kRaw: return raw(last);
      case State::kBehind: return behind(last);
    }
    return false;
  }

  // Llama 3: is the answer a call?
  bool start(bool last) {
    if (!skip_space()) return last && give_up();
    const Match tag = match(kPythonTag, last);
    if (tag == Match::kMaybe) return false;
    if (tag == Match::kNo && pending_.front() != '{') return give_up();
    if (tag == Match::kYes) take_raw(kPythonTag.size());
    state_ = State::kObject;
    return true;
  }

  bool text(bool last) {
    const std::array openings{llama_ ? kPythonTag : kOpen};
    if (!seek(openings, true, last)) return false;
    take_raw(openings[0].size());
    state_ = State::kObject;
    return true;
  }

  bool object(bool last) {
    if (!skip_space()) return last && give_up();
    const bool untagged = llama_ && raw_.find(kPythonTag) == std::string::npos && num_calls() == 0;
    HeadReader head(pending_);
    const HeadReader::State read = head.read();
    if (read == HeadReader::State::kMore && !last) return false;
    scanner_ = JsonScanner();
    if (read == HeadReader::State::kRead && is_callable(head.name())) {
      for (size_t i = 0; i < head.size(); ++i) scanner_.push(pending_[i]);
      drop(head.size());
      open_call(head.name());
      state_ = State::kArguments;
      return true;
    }
    if (untagged && !may_be_call(last)) return give_up();
    if (untagged && !decided_) return false;
    if (pending_.front() != '{' && pending_.front() != '[') return give_up();
    scanned_ = 0;
    state_ = State::kWhole;
    return true;
  }

  bool is_callable(std::string_view name) const {
    return is_function_name(name) && (!llama_ || knows(name));
  }

  // Whether an object without a marker begins with a key that a call has. Other JSON is an answer
  // and must not be held until it is whole.
  bool may_be_call(bool last) {
    decided_ = false;
    const size_t quote = pending_.find_first_not_of(" \t\r\n", 1);
    if (quote == std::string::npos) return !last && pending_.size() <= kMaxHead;
    if (quote > kMaxHead) return false;
    for (std::string_view key :
         {"\"type\"", "\"name\"", "\"function\"", "\"arguments\"", "\"parameters\""}) {
      const std::string_view found = std::string_view(pending_).substr(quote, key.size());
      if (found == key) {
        decided_ = true;
        return true;
      }
      if (!last && key.starts_with(found)) return true;
    }
    return false;
  }

  bool whole(bool last) {
    while (scanned_ < pending_.size()) {
      const JsonScanner::State state = scanner_.push(pending_[scanned_++]);
      if (state == JsonScanner::State::kBad || scanned_ > kMaxObject) return give_up();
      if (state == JsonScanner::State::kDone) return read_object();
    }
    return last && give_up();
  }

  bool read_object() {
    const auto json = parse_json(std::string_view(pending_).substr(0, scanned_));
    if (!json.ok()) return give_up();
    const Json list = json->is_array() ? *json : Json::array({*json});
    for (const Json& item : list) {
      if (!is_callable(read_whole(item).name)) return give_up();
    }
    if (list.empty()) return give_up();
    drop(scanned_);
    state_ = State::kBehind;
    for (const Json& item : list) {
      const WholeCall call = read_whole(item);
      open_call(call.name);
      emit_arguments(call.arguments);
      close_call("{}");
      if (satisfied()) break;
    }
    return true;
  }

  bool arguments() {
    for (size_t i = 0; i < pending_.size(); ++i) {
      const JsonScanner::State state = scanner_.push(pending_[i]);
      if (state == JsonScanner::State::kBad) {
        emit_arguments(take(i));
        state_ = State::kRaw;
        return true;
      }
      if (scanner_.depth() == 1) {
        emit_arguments(take(i + 1));
        close_call("{}");
        state_ = State::kTail;
        return true;
      }
    }
    emit_arguments(take(pending_.size()));
    return false;
  }

  // The rest of the object: its bracket, and keys that say nothing about the call.
  bool tail() {
    for (size_t i = 0; i < pending_.size(); ++i) {
      const JsonScanner::State state = scanner_.push(pending_[i]);
      if (state == JsonScanner::State::kMore) continue;
      drop(state == JsonScanner::State::kDone ? i + 1 : i);
      state_ = State::kBehind;
      return true;
    }
    pending_.clear();
    return false;
  }

  // Arguments that are no JSON: up to the closing tag.
  bool raw(bool last) {
    const size_t end = llama_ ? std::string::npos : pending_.find(kClose);
    if (end != std::string::npos) {
      emit_arguments(take(end));
      close_call("{}");
      state_ = State::kBehind;
      return true;
    }
    size_t certain = pending_.size();
    for (size_t n = std::min(certain, kClose.size()); n > 0 && !last && !llama_; --n) {
      if (!kClose.starts_with(std::string_view(pending_).substr(certain - n))) continue;
      certain -= n;
      break;
    }
    emit_arguments(take(certain));
    return false;
  }

  // Behind an object: its closing tag, the next call, or text.
  bool behind(bool last) {
    // A bracket too many is what models write when they lose count.
    const char* skipped = llama_ ? " \t\r\n;," : closed_ ? " \t\r\n" : " \t\r\n}";
    drop(std::min(pending_.find_first_not_of(skipped), pending_.size()));
    if (pending_.empty()) return false;
    if (llama_) {
      state_ = pending_.front() == '{' ? State::kObject : State::kText;
      return true;
    }
    const Match close = match(kClose, last);
    if (close == Match::kMaybe) return false;
    if (close == Match::kYes && !closed_) {
      drop(kClose.size());
      closed_ = true;
      return true;  // and the space behind it
    }
    closed_ = false;
    state_ = State::kText;
    return true;
  }

  // What was taken for markup is none.
  bool give_up() {
    restore();
    state_ = State::kText;
    return true;
  }

  const bool llama_;
  State state_ = State::kText;
  JsonScanner scanner_;
  size_t scanned_ = 0;    // bytes of pending_ that the scanner has seen
  bool decided_ = false;  // the first key is one of a call
  bool closed_ = false;   // the closing tag has been met
};

}  // namespace

std::unique_ptr<ToolCallParser> make_json_call_parser(ToolFormat format, ToolCallOptions options) {
  return std::make_unique<JsonCallParser>(format == ToolFormat::kLlama3, std::move(options));
}

}  // namespace ferry::text
