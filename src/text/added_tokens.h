// Tokens that are matched in the text before anything else: the leftmost match wins, the longest of
// those that start there. Their options follow tokenizer.json: lstrip and rstrip swallow white
// space beside the token, single_word refuses a match that touches a word character.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ferry::text {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool special = false;
  bool normalized = false;
  bool lstrip = false;
  bool rstrip = false;
  bool single_word = false;
};

class AddedTokenMatcher {
 public:
  // `pattern` is what to look for: the content, or its normal form. The first of two tokens with
  // the same pattern wins. Empty patterns are ignored.
  void add(std::string pattern, AddedToken token);
  bool empty() const { return tokens_.empty(); }

  struct Segment {
    int32_t id;  // -1: ordinary text
    std::string_view text;
  };
  // Appends the segments of `text` in order, none of them empty text. With match_special false,
  // special tokens count as ordinary text.
  // REQUIRES: `text` is valid UTF-8
  void cut(std::string_view text, bool match_special, std::vector<Segment>& out) const;

 private:
  // Trie over bytes: children_ maps node << 8 | byte to the child.
  int32_t longest_match(std::string_view text, size_t at, size_t& length) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<uint64_t, uint32_t> children_;
  std::vector<int32_t> node_tokens_ = {-1};  // index into tokens_ where a pattern ends
  bool starts_[256] = {};
};

}  // namespace ferry::text
