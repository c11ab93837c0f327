// See output_text.h.
#include "engine/output_text.h"

#include <iterator>
#include <utility>

namespace ferry::engine {
namespace {

void append_piece(OutputText::Piece& piece, text::ToolCallParser::Output output) {
  piece.text += output.text;
  std::move(output.calls.begin(), output.calls.end(), std::back_inserter(piece.tool_calls));
}

}  // namespace

std::string TokenText::match(std::string text, bool look_for_stops) {
  if (!look_for_stops) return text;  // the matcher holds nothing yet: min_tokens only ever ends
  std::string out = matcher_.push(text);
  if (matcher_.matched()) stop_string_ = matcher_.matched_string();
  return out;
}

void TokenText::answer(std::string text, Piece& piece) {
  if (tool_calls_ != nullptr) {
    append_piece(piece, tool_calls_->push(text));
  } else {
    piece.text += text;
  }
}

void TokenText::split(const std::string& text, Piece& piece) {
  if (!splitter_.has_value()) return answer(text, piece);
  take(splitter_->push(text), piece);
}

void TokenText::take(std::vector<text::ReasoningSplitter::Piece> parts, Piece& piece) {
  for (text::ReasoningSplitter::Piece& part : parts) {
    if (part.reasoning) {
      piece.reasoning += part.text;
    } else {
      answer(std::move(part.text), piece);
    }
  }
}

OutputText::Piece TokenText::push(int32_t token, bool look_for_stops) {
  Piece piece;
  split(match(detokenizer_.push(token), look_for_stops), piece);
  return piece;
}

OutputText::Piece TokenText::finish() {
  Piece piece;
  split(match(detokenizer_.finish(), true), piece);
  split(matcher_.finish(), piece);
  if (splitter_.has_value()) take(splitter_->finish(), piece);
  if (tool_calls_ != nullptr) append_piece(piece, tool_calls_->finish());
  return piece;
}

}  // namespace ferry::engine
