// Program: all rules of a grammar as one flat automaton with calls, checked and analysed, so that
// whoever walks it can never get stuck: every node that is left leads to an end within the limit of
// nested calls.
//
// Layout: nodes of all rules in one array, edges and jumps of all nodes in two more; those of node
// n are [n.edges, next node's edges). Immutable.
#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "grammar/dfa.h"

namespace ferry::grammar {

// Calls within calls. A level of nested JSON takes two.
inline constexpr int kMaxCallDepth = 200;

struct RuleSource {
  std::string name;  // for messages: the path of the subschema
  Dfa dfa;
};

class Program {
 public:
  struct Node {
    uint32_t edges = 0;
    uint32_t jumps = 0;
    uint32_t rule = 0;
    uint16_t need = 0;  // further nested calls that the shortest way to the rule's end takes
    bool accepting = false;
  };
  struct Rule {
    uint32_t start = 0;
    uint32_t rank = 0;          // callers rank below those they call without reading a byte
    std::bitset<256> follow{};  // bytes that can come after the rule
  };

  // Rule 0 is the root. Errors: a rule that nothing satisfies, one that calls itself without
  // reading anything, one that needs too many nested calls.
  static Result<Program> link(const std::vector<RuleSource>& rules);

  size_t num_nodes() const { return nodes_.size() - 1; }
  const Node& node(uint32_t node) const { return nodes_[node]; }
  const Rule& rule(int32_t rule) const { return rules_[rule]; }
  std::span<const Dfa::Edge> edges(uint32_t node) const {
    return {edges_.data() + nodes_[node].edges, edges_.data() + nodes_[node + 1].edges};
  }
  std::span<const Dfa::Jump> jumps(uint32_t node) const {
    return {jumps_.data() + nodes_[node].jumps, jumps_.data() + nodes_[node + 1].jumps};
  }
  // The target of a byte; -1: none.
  int64_t next(uint32_t node, uint8_t byte) const;
  // The target of a control token; -1: none.
  int64_t next_token(uint32_t node, int32_t token) const;

 private:
  Status flatten(const std::vector<RuleSource>& rules);
  void find_needs();
  void drop_dead_steps();
  Status rank_rules(const std::vector<RuleSource>& rules);
  void find_follows();
  std::bitset<256> first_bytes(uint32_t node, const std::vector<std::bitset<256>>& firsts) const;

  std::vector<Node> nodes_;  // one more at the end, for the ranges above
  std::vector<Dfa::Edge> edges_;
  std::vector<Dfa::Jump> jumps_;
  std::vector<Rule> rules_;
};

}  // namespace ferry::grammar
