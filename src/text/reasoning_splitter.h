// ReasoningSplitter: tells what a model thinks from what it answers, as the text comes.
//
//   <think>step by step</think>The answer is 4.
//          └─ reasoning ─┘      └── content ──┘
//
// Reasoning can only be opened at the start of an answer: by the marker itself, or by a prompt that
// ends with it (R1 and later). Markers are dropped, as are the newlines next to them. A marker that
// arrives in pieces is never let through in part. Not thread-safe: one per answer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ferry::text {

class ReasoningSplitter {
 public:
  struct Piece {
    bool reasoning = false;
    std::string text;  // not empty
  };

  explicit ReasoningSplitter(bool starts_in_reasoning, std::string open = "<think>",
                             std::string close = "</think>");

  // What is certain now: at most a reasoning piece followed by a content piece.
  std::vector<Piece> push(std::string_view text);
  // The rest: a marker that was begun and never finished is text after all.
  std::vector<Piece> finish();

  // Whether what comes next would be reasoning.
  bool in_reasoning() const { return state_ == State::kReasoning; }

 private:
  enum class State { kStart, kReasoning, kContent };

  void advance(std::vector<Piece>& pieces, bool last);
  bool start(bool last);
  bool reason(std::vector<Piece>& pieces, bool last);

  std::string open_, close_;
  State state_;
  bool skip_newlines_ = false;  // right behind a marker
  std::string pending_;         // not yet certain
};

}  // namespace ferry::text
