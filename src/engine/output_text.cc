// See output_text.h.
#include "engine/output_text.h"

namespace ferry::engine {
namespace {

void append(OutputText::Piece& piece, std::vector<text::ReasoningSplitter::Piece> parts) {
  for (text::ReasoningSplitter::Piece& part : parts) {
    (part.reasoning ? piece.reasoning : piece.text) += part.text;
  }
}

}  // namespace

std::string TokenText::match(std::string text, bool look_for_stops) {
  if (!look_for_stops) return text;  // the matcher holds nothing yet: min_tokens only ever ends
  std::string out = matcher_.push(text);
  if (matcher_.matched()) stop_string_ = matcher_.matched_string();
  return out;
}

void TokenText::split(const std::string& text, Piece& piece) {
  if (splitter_.has_value()) {
    append(piece, splitter_->push(text));
  } else {
    piece.text += text;
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
  if (splitter_.has_value()) append(piece, splitter_->finish());
  return piece;
}

}  // namespace ferry::engine
