// JsonScanner: where one JSON object or array ends, found byte by byte as it comes. It follows
// brackets and strings and refuses what JSON never has outside of strings; whether what it has seen
// is JSON in every detail is for a parser to say.
#pragma once

#include <string>
#include <string_view>

namespace ferry::text {

class JsonScanner {
 public:
  enum class State { kMore, kDone, kBad };

  // One more byte. After kDone or kBad nothing may be pushed.
  State push(char c) {
    if (in_string_) {
      in_string_ = escaped_ || c != '"';
      escaped_ = !escaped_ && c == '\\';
      return State::kMore;
    }
    if (c == '{' || c == '[') {
      closers_.push_back(c == '{' ? '}' : ']');
      return closers_.size() > kMaxDepth ? State::kBad : State::kMore;
    }
    if (c == '}' || c == ']') {
      if (closers_.empty() || closers_.back() != c) return State::kBad;
      closers_.pop_back();
      return closers_.empty() ? State::kDone : State::kMore;
    }
    if (closers_.empty()) return State::kBad;
    in_string_ = c == '"';
    constexpr std::string_view kOther = "\" \t\r\n:,-+.0123456789aeflnrstuE";
    return kOther.find(c) == std::string_view::npos ? State::kBad : State::kMore;
  }

  // Brackets that are open.
  size_t depth() const { return closers_.size(); }

 private:
  static constexpr size_t kMaxDepth = 128;

  std::string closers_;  // of the open brackets, the innermost last
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace ferry::text
