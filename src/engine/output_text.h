// TokenText: the way of one answer from token ids to text — whole characters, then stop strings,
// then, for a chat, what was thought apart from what is answered. Stop strings are looked for in
// the text as the model writes it, reasoning and markers included.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/generation.h"
#include "sample/stop_matcher.h"
#include "text/detokenizer.h"
#include "text/reasoning_splitter.h"

namespace ferry::engine {

class TokenText : public OutputText {
 public:
  // Without a splitter everything is the answer.
  TokenText(text::Tokenizer tokenizer, std::vector<std::string> stops,
            std::optional<text::ReasoningSplitter> splitter)
      : detokenizer_(std::move(tokenizer), true),
        matcher_(std::move(stops)),
        splitter_(std::move(splitter)) {}

  Piece push(int32_t token, bool look_for_stops) override;
  Piece finish() override;
  const std::string& stop_string() const override { return stop_string_; }
  bool reasoning() const override { return splitter_.has_value() && splitter_->in_reasoning(); }

 private:
  std::string match(std::string text, bool look_for_stops);
  void split(const std::string& text, Piece& piece);

  text::Detokenizer detokenizer_;
  sample::StopMatcher matcher_;
  std::optional<text::ReasoningSplitter> splitter_;
  std::string stop_string_;
};

}  // namespace ferry::engine
