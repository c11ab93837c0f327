// See grammar.h.
#include "grammar/grammar.h"

#include <algorithm>

#include "base/check.h"

namespace ferry::grammar {
namespace {

constexpr size_t kMaxMaskBytes = 16 << 20;  // of one grammar
constexpr size_t kMinAlikeNodes = 256;
constexpr size_t kMaxAlikeSteps = 20'000'000;

uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 29);
}

void set_bit(std::span<uint32_t> mask, int32_t token) {
  mask[token / 32] |= uint32_t{1} << (token % 32);
}

}  // namespace

Grammar::Grammar(Program program, VocabularyRef vocabulary)
    : program_(std::move(program)), vocabulary_(std::move(vocabulary)) {
  find_alike();
}

// Long repeats are chains of equal nodes that differ only in how far their ends are. A token sees
// no farther than its own bytes, so nodes that are equal for as many steps share a mask. Each round
// looks one step farther.
void Grammar::find_alike() {
  const size_t count = program_.num_nodes();
  const size_t rounds = vocabulary_->trie().max_depth();
  size_t num_steps = count;
  for (uint32_t n = 0; n < count; ++n) {
    num_steps += program_.edges(n).size() + program_.jumps(n).size();
  }
  if (count < kMinAlikeNodes || num_steps * rounds > kMaxAlikeSteps) return;
  std::vector<uint64_t> looks(count);
  std::vector<uint64_t> farther(count);
  for (uint32_t n = 0; n < count; ++n) {
    looks[n] = mix(program_.node(n).rule + 1, program_.node(n).accepting);
  }
  for (size_t round = 0; round < rounds; ++round) {
    for (uint32_t n = 0; n < count; ++n) {
      uint64_t hash = mix(program_.node(n).rule + 1, program_.node(n).accepting);
      for (const Dfa::Edge& edge : program_.edges(n)) {
        hash = mix(mix(hash, (uint64_t{edge.first} << 8) | edge.last), looks[edge.target]);
      }
      for (const Dfa::Jump& jump : program_.jumps(n)) {
        const auto kind = static_cast<uint64_t>(jump.kind);
        hash = mix(mix(hash, (kind << 32) | static_cast<uint32_t>(jump.id)), looks[jump.target]);
      }
      farther[n] = hash;
    }
    looks.swap(farther);
  }
  std::unordered_map<uint64_t, uint32_t> first;
  alike_.resize(count);
  for (uint32_t n = 0; n < count; ++n) alike_[n] = first.emplace(looks[n], n).first->second;
}

std::shared_ptr<const NodeMask> Grammar::mask_of(uint32_t node) const {
  if (!alike_.empty()) node = alike_[node];
  {
    std::lock_guard lock(mutex_);
    const auto found = masks_.find(node);
    if (found != masks_.end()) return found->second;
  }
  // Without the lock: two threads may find the same mask, which costs time and nothing else.
  auto mask = std::make_shared<const NodeMask>(program_, node, vocabulary_->trie(),
                                               vocabulary_->mask_words());
  std::lock_guard lock(mutex_);
  if (mask_bytes_ + mask->bytes() > kMaxMaskBytes) {
    masks_.clear();
    mask_bytes_ = 0;
  }
  const auto [entry, is_new] = masks_.emplace(node, mask);
  if (is_new) mask_bytes_ += mask->bytes();
  return entry->second;
}

size_t Grammar::mask_bytes() const {
  std::lock_guard lock(mutex_);
  return mask_bytes_;
}

Matcher::Matcher(GrammarRef grammar)
    : grammar_(std::move(grammar)), stepper_(grammar_->program(), table_) {
  history_.push_back(stepper_.start());
}

void Matcher::fill_mask(std::span<uint32_t> mask) {
  const Vocabulary& vocabulary = grammar_->vocabulary();
  const Program& program = grammar_->program();
  CHECK(mask.size() == vocabulary.mask_words());
  std::fill(mask.begin(), mask.end(), 0);
  if (ended_) return;
  const State& state = history_.back();
  for (const Thread& thread : state.threads) {
    for (const Dfa::Jump& jump : program.jumps(thread.node)) {
      if (jump.kind == Dfa::JumpKind::kToken) set_bit(mask, jump.id);
      if (jump.kind != Dfa::JumpKind::kOtherTokens) continue;
      for (int32_t token : vocabulary.control_ids()) {
        if (program.next_token(thread.node, token) >= 0) set_bit(mask, token);
      }
    }
    if (program.edges(thread.node).empty()) continue;
    const std::shared_ptr<const NodeMask> node = grammar_->mask_of(thread.node);
    if (table_.depth(thread.frames) + node->reach() > kMaxCallDepth) {
      // So near to the limit of nesting that what was found without callers may not hold.
      State alone{.threads = {thread}, .complete = false};
      add_readable(stepper_, alone, vocabulary.trie(), mask);
      continue;
    }
    node->add_accepted(mask);
    if (node->rests().size() > 0) {
      add_readable(stepper_, stepper_.after_return(thread.frames), node->rests(), mask);
    }
  }
  if (!state.complete) return;
  for (int32_t id : vocabulary.end_ids()) set_bit(mask, id);
}

bool Matcher::accept(int32_t token) {
  const Vocabulary& vocabulary = grammar_->vocabulary();
  if (ended_ || token < 0 || token >= vocabulary.size()) return false;
  if (vocabulary.is_end(token)) {
    if (!history_.back().complete) return false;
    ended_ = true;
    history_.push_back(history_.back());
  } else {
    State state = history_.back();
    if (vocabulary.is_control(token)) {
      state = stepper_.step_token(state, token);
    } else {
      const std::string_view bytes = vocabulary.bytes(token);
      if (bytes.empty() || bytes.size() > TokenTrie::kMaxTokenBytes) return false;
      for (char byte : bytes) {
        state = stepper_.step(state, static_cast<uint8_t>(byte));
        if (state.dead()) return false;
      }
    }
    if (state.dead()) return false;
    history_.push_back(std::move(state));
  }
  if (history_.size() > kMaxRollback + 1) history_.pop_front();
  return true;
}

void Matcher::rollback(size_t count) {
  CHECK(count < history_.size());
  if (count > 0) ended_ = false;
  history_.resize(history_.size() - count);
}

}  // namespace ferry::grammar
