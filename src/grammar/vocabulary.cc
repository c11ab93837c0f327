// See vocabulary.h.
#include "grammar/vocabulary.h"

#include <algorithm>

namespace ferry::grammar {

Vocabulary::Vocabulary(std::vector<VocabularyToken> tokens, std::span<const int32_t> end_ids)
    : tokens_(std::move(tokens)), end_ids_(end_ids.begin(), end_ids.end()) {
  std::sort(end_ids_.begin(), end_ids_.end());
  end_ids_.erase(std::unique(end_ids_.begin(), end_ids_.end()), end_ids_.end());
  std::erase_if(end_ids_, [this](int32_t id) { return id < 0 || id >= size(); });
  std::vector<std::pair<std::string_view, int32_t>> strings;
  for (int32_t id = 0; id < size(); ++id) {
    if (is_end(id)) continue;
    if (is_control(id)) {
      control_ids_.push_back(id);
      control_by_bytes_.emplace(tokens_[id].bytes, id);
    } else {
      strings.emplace_back(tokens_[id].bytes, id);
    }
  }
  trie_ = TokenTrie(std::move(strings));
}

bool Vocabulary::is_end(int32_t token) const {
  return std::binary_search(end_ids_.begin(), end_ids_.end(), token);
}

std::optional<int32_t> Vocabulary::control_token(std::string_view bytes) const {
  const auto found = control_by_bytes_.find(bytes);
  if (found == control_by_bytes_.end()) return std::nullopt;
  return found->second;
}

}  // namespace ferry::grammar
