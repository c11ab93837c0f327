// TokenText: the way of one answer from token ids to text — whole characters, then stop strings,
// then, for a chat, what was thought apart from what is answered, and out of that the calls of
// tools. Stop strings are looked for in the text as the model writes it, reasoning and markers
// included.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/generation.h"
#include "sample/stop_matcher.h"
#include "text/detokenizer.h"
#include "text/reasoning_splitter.h"
#include "text/tool_calls.h"

namespace ferry::engine {

// How the text of an answer is taken apart; the default leaves it whole.
struct TextParts {
  std::optional<text::ReasoningSplitter> splitter;
  std::unique_ptr<text::ToolCallParser> tool_calls;
  // Special tokens that are markers to the parser and so must reach it.
  std::vector<int32_t> markers;
};

class TokenText : public OutputText {
 public:
  TokenText(text::Tokenizer tokenizer, std::vector<std::string> stops, TextParts parts)
      : detokenizer_(std::move(tokenizer), true, std::move(parts.markers)),
        matcher_(std::move(stops)),
        splitter_(std::move(parts.splitter)),
        tool_calls_(std::move(parts.tool_calls)) {}

  Piece push(int32_t token, bool look_for_stops) override;
  Piece finish() override;
  const std::string& stop_string() const override { return stop_string_; }
  bool reasoning() const override { return splitter_.has_value() && splitter_->in_reasoning(); }
  int64_t num_tool_calls() const override {
    return tool_calls_ != nullptr ? tool_calls_->num_calls() : 0;
  }
  bool complete() const override { return tool_calls_ != nullptr && tool_calls_->satisfied(); }

 private:
  std::string match(std::string text, bool look_for_stops);
  void split(const std::string& text, Piece& piece);
  void take(std::vector<text::ReasoningSplitter::Piece> parts, Piece& piece);
  void answer(std::string text, Piece& piece);

  text::Detokenizer detokenizer_;
  sample::StopMatcher matcher_;
  std::optional<text::ReasoningSplitter> splitter_;
  std::unique_ptr<text::ToolCallParser> tool_calls_;
  std::string stop_string_;
};

}  // namespace ferry::engine
