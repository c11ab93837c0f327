// See node_mask.h.
#include "grammar/node_mask.h"

#include <array>
#include <bit>
#include <map>
#include <string>

namespace ferry::grammar {
namespace {

constexpr int32_t kUnknown = -2, kDeadState = -1;
constexpr size_t kMaxTables = 4096;  // of 1 KiB each

void set_mask_bit(std::span<uint32_t> mask, int32_t token) {
  mask[token / 32] |= uint32_t{1} << (token % 32);
}

// The states met on the way, each made once, with the steps between them.
class LocalStates {
 public:
  explicit LocalStates(const Program& program) : stepper_(program, table_) {}

  int32_t id_of(State state) {
    if (state.dead()) return kDeadState;
    auto [entry, is_new] =
        index_.try_emplace({state.threads, state.complete}, static_cast<int32_t>(states_.size()));
    if (is_new) {
      states_.push_back(std::move(state));
      if (steps_.size() < kMaxTables) steps_.emplace_back().fill(kUnknown);
    }
    return entry->second;
  }

  int32_t next(int32_t state, uint8_t byte) {
    if (static_cast<size_t>(state) >= steps_.size()) {
      return id_of(stepper_.step(states_[state], byte));
    }
    if (steps_[state][byte] == kUnknown) {
      const int32_t next = id_of(stepper_.step(states_[state], byte));
      steps_[state][byte] = next;
    }
    return steps_[state][byte];
  }

  const State& operator[](int32_t state) const { return states_[state]; }
  Stepper& stepper() { return stepper_; }

 private:
  FrameTable table_;
  Stepper stepper_;
  std::map<std::pair<std::vector<Thread>, bool>, int32_t> index_;
  std::vector<State> states_;
  std::vector<std::array<int32_t, 256>> steps_;  // of the first states
};

}  // namespace

NodeMask::NodeMask(const Program& program, uint32_t node, const TokenTrie& trie, size_t mask_words)
    : bits_(mask_words, 0) {
  const std::bitset<256>& follow = program.rule(program.node(node).rule).follow;
  LocalStates states(program);
  // Only what is read counts: that the rule may already be over is its callers' business.
  State start = states.stepper().settle({{node, 0}});
  start.complete = false;
  std::vector<int32_t> path{states.id_of(std::move(start))};
  std::vector<std::pair<size_t, size_t>> open;  // subtrees with rests: node and its end
  std::string text;
  std::vector<std::pair<std::string, int32_t>> rests;
  size_t num_accepted = 0;
  if (path[0] == kDeadState) bits_.clear();
  for (size_t at = 0; at < trie.size() && path[0] != kDeadState;) {
    const TokenTrie::Node& here = trie[at];
    const int32_t state = states.next(path[here.depth - 1], here.byte);
    if (state == kDeadState) {
      at = here.end;
      continue;
    }
    path.resize(here.depth);
    path.push_back(state);
    for (int32_t token : trie.tokens(at)) {
      set_mask_bit(bits_, token);
      ++num_accepted;
    }
    if (states[state].complete) {
      // Everything below goes on behind the end of the rule.
      for (size_t below = at + 1; below < here.end; below = trie[below].end) {
        if (follow[trie[below].byte]) open.emplace_back(below, here.depth);
      }
    }
    ++at;
  }
  for (const auto& [begin, base] : open) {
    for (size_t at = begin; at < trie[begin].end; ++at) {
      text.resize(trie[at].depth - 1 - base);
      text += static_cast<char>(trie[at].byte);
      for (int32_t token : trie.tokens(at)) {
        const bool known = (bits_[token / 32] >> (token % 32)) & 1;
        if (!known) rests.emplace_back(text, token);
      }
    }
  }
  std::vector<std::pair<std::string_view, int32_t>> views(rests.begin(), rests.end());
  rests_ = TokenTrie(std::move(views));
  reach_ = states.stepper().reach();
  if (num_accepted >= mask_words) return;
  for (size_t word = 0; word < bits_.size(); ++word) {
    for (uint32_t left = bits_[word]; left != 0; left &= left - 1) {
      list_.push_back(static_cast<int32_t>(word * 32) + std::countr_zero(left));
    }
  }
  bits_ = {};
}

void NodeMask::add_accepted(std::span<uint32_t> mask) const {
  for (size_t word = 0; word < bits_.size(); ++word) mask[word] |= bits_[word];
  for (int32_t token : list_) set_mask_bit(mask, token);
}

size_t NodeMask::bytes() const {
  return sizeof(NodeMask) + bits_.capacity() * 4 + list_.capacity() * 4 + rests_.bytes();
}

void add_readable(Stepper& stepper, const State& state, const TokenTrie& trie,
                  std::span<uint32_t> mask) {
  if (trie.size() == 0 || state.threads.empty()) return;
  std::vector<State> path{state};
  for (size_t at = 0; at < trie.size();) {
    const TokenTrie::Node& here = trie[at];
    path.resize(here.depth);
    State next = stepper.step(path.back(), here.byte);
    if (next.dead()) {
      at = here.end;
      continue;
    }
    for (int32_t token : trie.tokens(at)) set_mask_bit(mask, token);
    path.push_back(std::move(next));
    ++at;
  }
}

}  // namespace ferry::grammar
