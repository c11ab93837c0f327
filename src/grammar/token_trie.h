// TokenTrie: byte strings with their tokens, as a prefix tree in one array, so that a walk can skip
// all strings that begin alike with one jump.
//
// Layout: nodes in order of their depth-first visit. A node's children come right behind it, its
// next sibling at `end`. Tokens of all nodes lie in one array, those of node n from n.tokens to the
// next node's. There is no node for the empty string.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace ferry::grammar {

class TokenTrie {
 public:
  struct Node {
    uint32_t end = 0;     // one behind the last descendant
    uint32_t tokens = 0;  // first of its own
    uint16_t depth = 0;   // bytes from the root; 1 for the first
    uint8_t byte = 0;
  };

  TokenTrie() : TokenTrie(std::vector<std::pair<std::string_view, int32_t>>{}) {}
  // Empty strings, and those longer than kMaxTokenBytes, are left out.
  explicit TokenTrie(std::vector<std::pair<std::string_view, int32_t>> strings);

  static constexpr size_t kMaxTokenBytes = 512;

  size_t size() const { return nodes_.size() - 1; }
  const Node& operator[](size_t node) const { return nodes_[node]; }
  std::span<const int32_t> tokens(size_t node) const {
    return {tokens_.data() + nodes_[node].tokens, tokens_.data() + nodes_[node + 1].tokens};
  }
  // Tokens of a node and of all its descendants.
  std::span<const int32_t> tokens_below(size_t node) const {
    return {tokens_.data() + nodes_[node].tokens, tokens_.data() + nodes_[nodes_[node].end].tokens};
  }
  size_t max_depth() const { return max_depth_; }
  size_t bytes() const;  // of memory

 private:
  std::vector<Node> nodes_;  // one more at the end
  std::vector<int32_t> tokens_;
  size_t max_depth_ = 0;
};

}  // namespace ferry::grammar
