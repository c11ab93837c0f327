// ToolCallParser: takes the calls of tools out of what a model answers, as the text comes. What is
// put in here is the answer without the reasoning (reasoning_splitter.h).
//
//   Let me look.⏎<tool_call>⏎{"name": "f", "arguments": {"x": 1}}⏎</tool_call>
//   └── text ──┘                      └ name            └ arguments, piece by piece
//
// Whatever the cuts between the pushes, the same text and the same calls come out. A marker that
// arrives in pieces is never let through in part. Markup that turns out to be none — no name, a
// wrong order, no JSON — is text after all, unless its call is out already: then what follows
// counts as arguments, as the model wrote them. Names are checked for their form; whether there is
// such a tool is for the client to say, except where calls have no marker (Llama3).
// Not thread-safe: one per answer.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "ferry/ferry.h"
#include "text/tool_format.h"

namespace ferry::text {

struct ToolCallOptions {
  Json tools = Json::array();           // OpenAI's
  std::function<std::string()> new_id;  // for calls that the model gives no id of its own
  bool parallel = true;                 // false: the first call is the end of the answer
};

class ToolCallParser {
 public:
  struct Output {
    std::string text;
    std::vector<ToolCallPiece> calls;  // neighbours of one call are joined
  };

  explicit ToolCallParser(ToolCallOptions options) : options_(std::move(options)) {}
  virtual ~ToolCallParser() = default;

  // What is certain now.
  Output push(std::string_view text);
  // The rest. A call that was cut off stays as it is.
  Output finish();

  int64_t num_calls() const { return next_index_; }
  // The one call that was wanted is complete; what comes later is ignored.
  bool satisfied() const { return satisfied_; }

 protected:
  enum class Match { kNo, kMaybe, kYes };

  // Acts on the front of pending_. False: nothing more can be said before more text comes; with
  // `last`, nothing is left.
  virtual bool step(bool last) = 0;

  // Lets text out until one of `openings` stands at the front of pending_ (true) or no more is
  // certain. Newlines in front of an opening belong to it where `with_newlines`: they go to raw_.
  bool seek(std::span<const std::string_view> openings, bool with_newlines, bool last);
  Match match(std::string_view marker, bool last) const;
  // As std::string::find on pending_; does not look twice at what has no match.
  size_t find(std::string_view marker);
  std::string take(size_t count);  // from the front of pending_
  void drop(size_t count) { take(count); }
  void take_raw(size_t count) { raw_ += take(count); }
  // Moves white space at the front to raw_. False: nothing else is there.
  bool skip_space();
  // raw_ is text after all.
  void restore();

  void emit_text(std::string text) { out_.text += text; }
  void open_call(std::string name, std::string id = {});
  void emit_arguments(std::string_view text);
  // `otherwise`: the arguments of a call that has none.
  void close_call(std::string_view otherwise);
  bool has_arguments() const { return has_arguments_; }
  // The schema of a parameter; null where there is none.
  Json parameter_schema(std::string_view function, std::string_view parameter) const;
  bool knows(std::string_view function) const;

  std::string pending_;  // not yet certain
  std::string raw_;      // markup that has not become a call so far

 private:
  const Json* function_named(std::string_view name) const;

  ToolCallOptions options_;
  Output out_;
  size_t searched_ = 0;
  int64_t next_index_ = 0;
  bool has_arguments_ = false;
  bool satisfied_ = false;
};

std::unique_ptr<ToolCallParser> make_tool_call_parser(ToolFormat format, ToolCallOptions options);

// What the name of a function may be: 1 to 128 letters, digits, '_', '-', '.', ':' and '/'.
bool is_function_name(std::string_view name);

std::string_view trimmed(std::string_view text);

}  // namespace ferry::text
