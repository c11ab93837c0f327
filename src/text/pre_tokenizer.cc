// See pre_tokenizer.h.
#include "text/pre_tokenizer.h"

#include <utility>

namespace ferry::text {
namespace {

// A stretch of the text: a match or a gap, after `invert`.
struct Span {
  size_t begin;
  size_t end;
  bool is_match;
};

// Whether `span` belongs to the same piece as the stretch right before it.
bool joins(SplitBehavior behavior, const Span& before, const Span& span) {
  switch (behavior) {
    case SplitBehavior::kMergedWithPrevious: return span.is_match && !before.is_match;
    case SplitBehavior::kMergedWithNext: return before.is_match && !span.is_match;
    case SplitBehavior::kContiguous: return before.is_match == span.is_match;
    case SplitBehavior::kIsolated:
    case SplitBehavior::kRemoved: return false;
  }
  return false;
}

void apply(const Split& split, std::string_view text, PreTokenizerScratch& scratch,
           std::vector<std::string_view>& pieces) {
  scratch.matches.clear();
  split.pattern.find_all(text, scratch.regex, scratch.matches);
  if (split.behavior == SplitBehavior::kIsolated) {
    // The common case needs no list of spans: every match and every gap is a piece.
    size_t done = 0;
    for (const RegexMatch& match : scratch.matches) {
      if (match.begin > done) pieces.push_back(text.substr(done, match.begin - done));
      if (match.end > match.begin) {
        pieces.push_back(text.substr(match.begin, match.end - match.begin));
      }
      done = match.end;
    }
    if (done < text.size()) pieces.push_back(text.substr(done));
    return;
  }
  std::vector<Span> spans;
  size_t done = 0;
  for (const RegexMatch& match : scratch.matches) {
    if (match.begin > done) spans.push_back({done, match.begin, split.invert});
    spans.push_back({match.begin, match.end, !split.invert});
    done = match.end;
  }
  if (done < text.size()) spans.push_back({done, text.size(), split.invert});
  for (size_t i = 0; i < spans.size();) {
    size_t last = i;
    while (last + 1 < spans.size() && joins(split.behavior, spans[last], spans[last + 1])) ++last;
    const bool dropped = split.behavior == SplitBehavior::kRemoved && spans[i].is_match;
    const size_t begin = spans[i].begin;
    if (!dropped && spans[last].end > begin) {
      pieces.push_back(text.substr(begin, spans[last].end - begin));
    }
    i = last + 1;
  }
}

void apply_all(const std::vector<Split>& splits, PreTokenizerScratch& scratch,
               std::vector<std::string_view>& pieces) {
  for (const Split& split : splits) {
    scratch.next.clear();
    for (std::string_view piece : pieces) apply(split, piece, scratch, scratch.next);
    pieces.swap(scratch.next);
  }
}

}  // namespace

Status PreTokenizer::set_byte_level(bool add_prefix_space, bool use_regex) {
  has_byte_level_ = true;
  add_prefix_space_ = add_prefix_space;
  if (use_regex) {
    FERRY_TRY(Regex regex, Regex::from_oniguruma(kGpt2Expression));
    byte_level_splits_.push_back({std::move(regex)});
  }
  return {};
}

void PreTokenizer::cut(std::string_view text, PreTokenizerScratch& scratch,
                       std::vector<std::string_view>& pieces) const {
  pieces.clear();
  if (text.empty()) return;
  pieces.push_back(text);
  apply_all(splits_, scratch, pieces);
  if (add_prefix_space_) {
    for (std::string_view& piece : pieces) {
      if (piece[0] == ' ') continue;
      scratch.prefixed.push_back(" " + std::string(piece));
      piece = scratch.prefixed.back();
    }
  }
  apply_all(byte_level_splits_, scratch, pieces);
}

}  // namespace ferry::text
