// See token_trie.h.
#include "grammar/token_trie.h"

#include <algorithm>

namespace ferry::grammar {

TokenTrie::TokenTrie(std::vector<std::pair<std::string_view, int32_t>> strings) {
  std::sort(strings.begin(), strings.end());
  std::vector<uint32_t> path;  // the nodes of the string before
  std::string_view previous;
  for (const auto& [text, token] : strings) {
    if (text.empty() || text.size() > kMaxTokenBytes) continue;
    size_t common = 0;
    while (common < previous.size() && common < text.size() && previous[common] == text[common]) {
      ++common;
    }
    for (; path.size() > common; path.pop_back()) {
      nodes_[path.back()].end = static_cast<uint32_t>(nodes_.size());
    }
    for (size_t at = common; at < text.size(); ++at) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({.end = 0,
                        .tokens = static_cast<uint32_t>(tokens_.size()),
                        .depth = static_cast<uint16_t>(at + 1),
                        .byte = static_cast<uint8_t>(text[at])});
    }
    tokens_.push_back(token);
    max_depth_ = std::max(max_depth_, text.size());
    previous = text;
  }
  for (uint32_t node : path) nodes_[node].end = static_cast<uint32_t>(nodes_.size());
  nodes_.push_back({.end = static_cast<uint32_t>(nodes_.size()),
                    .tokens = static_cast<uint32_t>(tokens_.size())});
}

size_t TokenTrie::bytes() const {
  return nodes_.capacity() * sizeof(Node) + tokens_.capacity() * sizeof(int32_t);
}

}  // namespace ferry::grammar
