// Vocabulary: a model's tokens as constrained decoding sees them. Built once per model and shared
// by all grammars. Immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar/token_trie.h"

namespace ferry::grammar {

struct VocabularyToken {
  std::string bytes;
  // Never part of a text: allowed only where a grammar names it (<｜tool▁sep｜>), or where anything
  // is.
  bool control = false;
};

class Vocabulary {
 public:
  // Token ids are the indices of `tokens`; tokens without bytes are never allowed. `end_ids` end a
  // text (ids outside the vocabulary are ignored).
  Vocabulary(std::vector<VocabularyToken> tokens, std::span<const int32_t> end_ids);

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  size_t mask_words() const { return (tokens_.size() + 31) / 32; }
  std::string_view bytes(int32_t token) const { return tokens_[token].bytes; }
  bool is_control(int32_t token) const { return tokens_[token].control; }
  bool is_end(int32_t token) const;
  const std::vector<int32_t>& end_ids() const { return end_ids_; }
  const std::vector<int32_t>& control_ids() const { return control_ids_; }
  std::optional<int32_t> control_token(std::string_view bytes) const;
  const TokenTrie& trie() const { return trie_; }  // of all but control and end tokens

 private:
  std::vector<VocabularyToken> tokens_;
  std::vector<int32_t> end_ids_;
  std::vector<int32_t> control_ids_;  // without those that end a text
  std::unordered_map<std::string_view, int32_t> control_by_bytes_;
  TokenTrie trie_;
};

using VocabularyRef = std::shared_ptr<const Vocabulary>;

}  // namespace ferry::grammar
