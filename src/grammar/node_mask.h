// NodeMask: which tokens a node of a program allows, as far as that can be told without knowing who
// called its rule. Found once per node by a walk over the whole vocabulary, then cached.
//
//   accepted  every byte is read inside the rule or in rules it calls
//   rests     the rule ends inside the token: `", "b": ` ends a string after its first byte;
//   whether
//             the rest fits depends on the callers. The rests of all such tokens, as a trie of
//             their own: few, and only those whose first byte can follow the rule at all.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "grammar/program.h"
#include "grammar/stack.h"
#include "grammar/token_trie.h"

namespace ferry::grammar {

class NodeMask {
 public:
  NodeMask(const Program& program, uint32_t node, const TokenTrie& trie, size_t mask_words);

  void add_accepted(std::span<uint32_t> mask) const;
  const TokenTrie& rests() const { return rests_; }
  // Nested calls that the walk went through; nearer to the limit than that the mask says too much.
  int reach() const { return reach_; }
  size_t bytes() const;  // of memory

 private:
  // One of the two: a bit per token, or a list where that is shorter.
  std::vector<uint32_t> bits_;
  std::vector<int32_t> list_;
  TokenTrie rests_;
  int reach_ = 0;
};

// Sets the bits of the tokens of `trie` that can be read from `state`.
void add_readable(Stepper& stepper, const State& state, const TokenTrie& trie,
                  std::span<uint32_t> mask);

}  // namespace ferry::grammar
