// One node per beginning of a marker: the longest that the text so far ends with. Markers are
// short, so that this is simply looked for.
#include "grammar/free_text.h"

#include <algorithm>
#include <map>

namespace ferry::grammar {
namespace {

// A byte, or 256 + the id of a control token.
using Letter = int32_t;
using Word = std::vector<Letter>;

// Control tokens where there is one, the longest first; else bytes.
Word letters_of(std::string_view text, const Vocabulary& vocabulary) {
  Word word;
  for (size_t at = 0; at < text.size();) {
    std::optional<int32_t> token;
    size_t length = text.size() - at;
    for (; length > 1 && !token; --length) {
      token = vocabulary.control_token(text.substr(at, length));
      if (token) break;
    }
    word.push_back(token ? 256 + *token : static_cast<uint8_t>(text[at]));
    at += token ? length : 1;
  }
  return word;
}

Word bytes_of(std::string_view text) {
  Word word;
  for (char c : text) word.push_back(static_cast<uint8_t>(c));
  return word;
}

class MarkerAutomaton {
 public:
  MarkerAutomaton(const std::vector<std::string_view>& markers, const Vocabulary& vocabulary) {
    for (std::string_view marker : markers) {
      words_.push_back(letters_of(marker, vocabulary));
      words_.push_back(bytes_of(marker));
    }
    add_state({});
    for (const Word& word : words_) {
      for (size_t length = 1; length < word.size(); ++length) {
        add_state(Word(word.begin(), word.begin() + static_cast<ptrdiff_t>(length)));
      }
    }
    for (const Word& word : words_) {
      for (Letter letter : word) {
        if (letter >= 256) tokens_.push_back(letter);
      }
    }
    std::sort(tokens_.begin(), tokens_.end());
    tokens_.erase(std::unique(tokens_.begin(), tokens_.end()), tokens_.end());
  }

  // Behind a marker: accepting, or a dead end. Before: the other way round.
  Dfa build(bool until_marker) {
    Dfa dfa;
    const auto end = static_cast<uint32_t>(states_.size());
    dfa.nodes.resize(states_.size() + 1);
    for (uint32_t i = 0; i < end; ++i) {
      Dfa::Node& node = dfa.nodes[i];
      node.accepting = !until_marker;
      for (int byte = 0; byte < 256; ++byte) {
        const uint32_t target = next(i, byte, end);
        const auto b = static_cast<uint8_t>(byte);
        if (!node.edges.empty() && node.edges.back().target == target) {
          node.edges.back().last = b;
        } else {
          node.edges.push_back({b, b, target});
        }
      }
      for (Letter token : tokens_) {
        node.jumps.push_back({Dfa::JumpKind::kToken, token - 256, next(i, token, end)});
      }
      node.jumps.push_back({Dfa::JumpKind::kOtherTokens, 0, 0});
    }
    dfa.nodes[end].accepting = until_marker;
    return dfa;
  }

 private:
  void add_state(Word word) {
    if (index_.emplace(word, static_cast<uint32_t>(states_.size())).second) {
      states_.push_back(std::move(word));
    }
  }

  uint32_t next(uint32_t state, Letter letter, uint32_t end) const {
    Word text = states_[state];
    text.push_back(letter);
    for (const Word& word : words_) {
      if (text.size() >= word.size() && std::equal(word.rbegin(), word.rend(), text.rbegin())) {
        return end;
      }
    }
    for (;; text.erase(text.begin())) {
      const auto found = index_.find(text);
      if (found != index_.end()) return found->second;
    }
  }

  std::vector<Word> words_;
  std::vector<Word> states_;
  std::map<Word, uint32_t> index_;
  std::vector<Letter> tokens_;  // control tokens of the markers
};

}  // namespace

ExprRef spelled(std::string_view text, const Vocabulary& vocabulary) {
  std::vector<ExprRef> parts;
  std::string run;
  for (Letter letter : letters_of(text, vocabulary)) {
    if (letter < 256) {
      run += static_cast<char>(letter);
      continue;
    }
    if (!run.empty()) parts.push_back(bytes(run));
    run.clear();
    parts.push_back(control_token(letter - 256));
  }
  if (!run.empty() || parts.empty()) parts.push_back(bytes(run));
  return parts.size() == 1 ? parts[0] : sequence(std::move(parts));
}

ExprRef free_text_until(const std::vector<std::string_view>& markers,
                        const Vocabulary& vocabulary) {
  return automaton(MarkerAutomaton(markers, vocabulary).build(true));
}

ExprRef free_text_without(const std::vector<std::string_view>& markers,
                          const Vocabulary& vocabulary) {
  return automaton(MarkerAutomaton(markers, vocabulary).build(false));
}

}  // namespace ferry::grammar
