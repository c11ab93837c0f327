// Dfa: a deterministic automaton over bytes, with two further kinds of steps that a grammar needs:
// calls of other rules and whole control tokens (<｜tool▁sep｜>), which never are a run of bytes.
//
// Node 0 is the start. Edges of a node are sorted and disjoint; every jump of a node is different.
// A call means: match that rule, then go on at `target`. Immutable once built, shared freely.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/budget.h"

namespace ferry::grammar {

struct Dfa {
  struct Edge {
    uint8_t first, last;  // both inside
    uint32_t target;
    friend bool operator==(const Edge&, const Edge&) = default;
  };
  enum class JumpKind : uint8_t {
    kCall,         // rule `id`
    kToken,        // the control token `id`
    kOtherTokens,  // any control token that no jump of this node names; `id` is 0
  };
  struct Jump {
    JumpKind kind;
    int32_t id;
    uint32_t target;
    friend bool operator==(const Jump&, const Jump&) = default;
  };
  struct Node {
    std::vector<Edge> edges;
    std::vector<Jump> jumps;
    bool accepting = false;
  };
  std::vector<Node> nodes;

  // The target of a byte; -1: none.
  int64_t next(uint32_t node, uint8_t byte) const;
  // Whether all of `text` leads from the start to an accepting node.
  bool matches(std::string_view text) const;
  // No text at all leads to an accepting node. REQUIRES: no jumps
  bool is_empty() const;
};

using DfaRef = std::shared_ptr<const Dfa>;

// Merges nodes that nothing can tell apart. Returns `dfa` as it was where that would take too long.
Dfa minimize(Dfa dfa);

// What both accept. REQUIRES: no jumps
Result<Dfa> intersect(const Dfa& a, const Dfa& b, Budget& budget);
// What `a` accepts and `b` does not. REQUIRES: no jumps
Result<Dfa> subtract(const Dfa& a, const Dfa& b, Budget& budget);

}  // namespace ferry::grammar
