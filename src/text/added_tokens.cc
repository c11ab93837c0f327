// See added_tokens.h.
#include "text/added_tokens.h"

#include <algorithm>

#include "text/utf8.h"

namespace ferry::text {
namespace {

// Start of the last character before text[at]. REQUIRES: at > 0, valid UTF-8
size_t character_before(std::string_view text, size_t at) {
  do {
    --at;
  } while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  return at;
}

bool touches_word(std::string_view text, size_t begin, size_t end) {
  if (begin > 0) {
    const size_t before = character_before(text, begin);
    if (is_word_character(utf8_step(text, before).code_point)) return true;
  }
  return end < text.size() && is_word_character(utf8_step(text, end).code_point);
}

}  // namespace

void AddedTokenMatcher::add(std::string pattern, AddedToken token) {
  if (pattern.empty()) return;
  uint32_t node = 0;
  for (char byte : pattern) {
    const uint64_t key = (uint64_t{node} << 8) | static_cast<uint8_t>(byte);
    auto [child, is_new] = children_.try_emplace(key, static_cast<uint32_t>(node_tokens_.size()));
    if (is_new) node_tokens_.push_back(-1);
    node = child->second;
  }
  if (node_tokens_[node] >= 0) return;
  node_tokens_[node] = static_cast<int32_t>(tokens_.size());
  starts_[static_cast<uint8_t>(pattern[0])] = true;
  tokens_.push_back(std::move(token));
}

int32_t AddedTokenMatcher::longest_match(std::string_view text, size_t at, size_t& length) const {
  int32_t best = -1;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto child = children_.find((uint64_t{node} << 8) | static_cast<uint8_t>(text[i]));
    if (child == children_.end()) break;
    node = child->second;
    if (node_tokens_[node] >= 0) {
      best = node_tokens_[node];
      length = i + 1 - at;
    }
  }
  return best;
}

void AddedTokenMatcher::cut(std::string_view text, bool match_special,
                            std::vector<Segment>& out) const {
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    size_t length = 0;
    const int32_t index =
        starts_[static_cast<uint8_t>(text[at])] ? longest_match(text, at, length) : -1;
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[index];
    size_t begin = at;
    size_t end = at + length;
    at = end;
    if (token.special && !match_special) continue;
    if (token.single_word && touches_word(text, begin, end)) continue;
    if (token.lstrip) {
      while (begin > done) {
        const size_t before = character_before(text, begin);
        if (before < done || !is_white_space(utf8_step(text, before).code_point)) break;
        begin = before;
      }
    }
    if (token.rstrip) {
      while (end < text.size()) {
        const Utf8Step step = utf8_step(text, end);
        if (!is_white_space(step.code_point)) break;
        end += step.length;
      }
      at = end;
    }
    if (begin > done) out.push_back({-1, text.substr(done, begin - done)});
    out.push_back({token.id, text.substr(begin, end - begin)});
    done = end;
  }
  if (done < text.size()) out.push_back({-1, text.substr(done)});
}

}  // namespace ferry::text
