#include "text/reasoning_splitter.h"

#include <algorithm>
#include <utility>

namespace ferry::text {
namespace {

// Length of the longest end of `text` that is a beginning of `marker`, the whole marker excluded.
size_t partial_marker(std::string_view text, std::string_view marker) {
  for (size_t n = std::min(text.size(), marker.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == marker.substr(0, n)) return n;
  }
  return 0;
}

void emit(std::vector<ReasoningSplitter::Piece>& pieces, bool reasoning, std::string text) {
  if (text.empty()) return;
  if (!pieces.empty() && pieces.back().reasoning == reasoning) {
    pieces.back().text += text;
  } else {
    pieces.push_back({reasoning, std::move(text)});
  }
}

}  // namespace

ReasoningSplitter::ReasoningSplitter(bool starts_in_reasoning, std::string open, std::string close)
    : open_(std::move(open)),
      close_(std::move(close)),
      state_(starts_in_reasoning ? State::kReasoning : State::kStart),
      skip_newlines_(starts_in_reasoning) {}

std::vector<ReasoningSplitter::Piece> ReasoningSplitter::push(std::string_view text) {
  std::vector<Piece> pieces;
  pending_ += text;
  advance(pieces, false);
  return pieces;
}

std::vector<ReasoningSplitter::Piece> ReasoningSplitter::finish() {
  std::vector<Piece> pieces;
  advance(pieces, true);
  return pieces;
}

void ReasoningSplitter::advance(std::vector<Piece>& pieces, bool last) {
  for (;;) {
    if (skip_newlines_) {
      const size_t text = pending_.find_first_not_of('\n');
      pending_.erase(0, std::min(text, pending_.size()));
      if (pending_.empty()) return;
      skip_newlines_ = false;
    }
    if (state_ == State::kStart) {
      if (!start(last)) return;
      continue;
    }
    if (state_ == State::kReasoning) {
      if (!reason(pieces, last)) return;
      continue;
    }
    if (state_ == State::kContent) {
      emit(pieces, false, std::move(pending_));
      pending_.clear();
      return;
    }
  }
}

// Is this the marker that opens reasoning? A closing one at once means that there is none.
// False: more text must come before it is known.
bool ReasoningSplitter::start(bool last) {
  const size_t begin = std::min(pending_.find_first_not_of(" \n\t\r"), pending_.size());
  const std::string_view rest = std::string_view(pending_).substr(begin);
  for (const auto& [marker, next] :
       {std::pair{&open_, State::kReasoning}, std::pair{&close_, State::kContent}}) {
    if (rest.substr(0, marker->size()) == *marker) {
      pending_.erase(0, begin + marker->size());
      state_ = next;
      skip_newlines_ = true;
      return !pending_.empty();
    }
    if (!last && marker->substr(0, rest.size()) == rest) return false;
  }
  state_ = State::kContent;
  return true;
}

// False: everything certain is out, the rest waits.
bool ReasoningSplitter::reason(std::vector<Piece>& pieces, bool last) {
  const size_t end = pending_.find(close_);
  if (end == std::string::npos) {
    // Newlines before a marker go with it, so they wait for what follows them.
    size_t keep = last ? 0 : partial_marker(pending_, close_);
    while (!last && keep < pending_.size() && pending_[pending_.size() - keep - 1] == '\n') ++keep;
    std::string held = pending_.substr(pending_.size() - keep);
    pending_.resize(pending_.size() - keep);
    emit(pieces, true, std::exchange(pending_, std::move(held)));
    return false;
  }
  std::string text = pending_.substr(0, end);
  text.erase(text.find_last_not_of('\n') + 1);
  emit(pieces, true, std::move(text));
  pending_.erase(0, end + close_.size());
  state_ = State::kContent;
  skip_newlines_ = true;
  return true;
}

}  // namespace ferry::text
