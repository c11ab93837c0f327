// Cuts text into the pieces that byte-pair encoding works on: a list of splits, each applied to
// every piece that the one before it left, then the byte-level step.
//
// The byte-level step of tokenizer.json spells bytes in the printable alphabet (utf8.h). Here
// pieces stay raw bytes and the vocabulary is translated once instead, so pieces are views of the
// text.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/regex.h"

namespace ferry::text {

// What becomes of a match: its own piece, dropped, joined to the text before or after it, or joined
// to neighbouring matches.
enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct Split {
  Regex pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // what does not match counts as the match
};

// GPT-2's expression, which ByteLevel{use_regex: true} stands for.
inline constexpr std::string_view kGpt2Expression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Scratch memory of one encode().
struct PreTokenizerScratch {
  RegexScratch regex;
  std::vector<RegexMatch> matches;
  std::vector<std::string_view> next;
  std::deque<std::string> prefixed;  // owns the pieces that got a space in front
};

class PreTokenizer {
 public:
  void add_split(Split split) { splits_.push_back(std::move(split)); }
  // ByteLevel{add_prefix_space, use_regex}: comes last.
  Status set_byte_level(bool add_prefix_space, bool use_regex);
  bool has_byte_level() const { return has_byte_level_; }

  // Replaces `pieces` by those of `text`. None is empty. They are views of `text` and `scratch` and
  // live as long as both do.
  // REQUIRES: `text` is valid UTF-8
  void cut(std::string_view text, PreTokenizerScratch& scratch,
           std::vector<std::string_view>& pieces) const;

 private:
  std::vector<Split> splits_;
  std::vector<Split> byte_level_splits_;  // after the prefix space: GPT-2's expression or none
  bool has_byte_level_ = false;
  bool add_prefix_space_ = false;
};

}  // namespace ferry::text
