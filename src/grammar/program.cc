// See program.h.
#include "grammar/program.h"

#include <algorithm>

#include "base/check.h"

namespace ferry::grammar {
namespace {

constexpr uint16_t kEndless = UINT16_MAX;

// Nodes in the order in which it becomes known how few nested calls they need: first those that
// need none, then those that need one, … A call can be taken once both the rule it calls and the
// node behind it are known.
class NeedSearch {
 public:
  NeedSearch(size_t num_nodes, size_t num_rules)
      : sources_(num_nodes), waiting_(num_rules), needs_(num_nodes, kEndless) {}

  void add_step(uint32_t from, uint32_t to) { sources_[to].push_back({from, -1}); }
  void add_call(uint32_t from, int32_t rule, uint32_t to) { sources_[to].push_back({from, rule}); }

  std::vector<uint16_t> run(const std::vector<uint32_t>& accepting,
                            const std::vector<uint32_t>& starts) {
    std::vector<uint32_t> level = accepting;
    for (uint16_t need = 0; need <= kMaxCallDepth; ++need) {
      for (uint32_t node : level) settle(node, need);
      level.clear();
      for (size_t at = 0; at < queue_.size(); ++at) spread(queue_[at], need, starts);
      queue_.clear();
      for (size_t rule = 0; rule < starts.size(); ++rule) {
        if (needs_[starts[rule]] != need) continue;
        level.insert(level.end(), waiting_[rule].begin(), waiting_[rule].end());
        waiting_[rule].clear();
      }
    }
    return std::move(needs_);
  }

 private:
  struct Source {
    uint32_t node;
    int32_t rule;  // -1: a step that calls nothing
  };

  void settle(uint32_t node, uint16_t need) {
    if (needs_[node] != kEndless) return;
    needs_[node] = need;
    queue_.push_back(node);
  }

  void spread(uint32_t node, uint16_t need, const std::vector<uint32_t>& starts) {
    for (const Source& source : sources_[node]) {
      if (source.rule >= 0 && needs_[starts[source.rule]] >= need) {
        waiting_[source.rule].push_back(source.node);
      } else {
        settle(source.node, need);
      }
    }
  }

  std::vector<std::vector<Source>> sources_;
  std::vector<std::vector<uint32_t>> waiting_;  // by rule: nodes that can go on once it is known
  std::vector<uint16_t> needs_;
  std::vector<uint32_t> queue_;
};

}  // namespace

int64_t Program::next(uint32_t node, uint8_t byte) const {
  const std::span<const Dfa::Edge> from = edges(node);
  const auto edge = std::partition_point(from.begin(), from.end(),
                                         [&](const Dfa::Edge& e) { return e.last < byte; });
  return edge != from.end() && edge->first <= byte ? edge->target : int64_t{-1};
}

int64_t Program::next_token(uint32_t node, int32_t token) const {
  int64_t other = -1;
  for (const Dfa::Jump& jump : jumps(node)) {
    if (jump.kind == Dfa::JumpKind::kToken && jump.id == token) return jump.target;
    if (jump.kind == Dfa::JumpKind::kOtherTokens) other = jump.target;
  }
  return other;
}

Result<Program> Program::link(const std::vector<RuleSource>& rules) {
  Program program;
  FERRY_TRY_VOID(program.flatten(rules));
  program.find_needs();
  for (size_t i = 0; i < rules.size(); ++i) {
    const Node& start = program.nodes_[program.rules_[i].start];
    if (start.need <= kMaxCallDepth) continue;
    if (i != 0) continue;  // what calls it goes another way, or is refused itself
    return invalid_input("nothing of at most {} nested levels can satisfy {}", kMaxCallDepth / 2,
                         rules[i].name);
  }
  program.drop_dead_steps();
  FERRY_TRY_VOID(program.rank_rules(rules));
  program.find_follows();
  return program;
}

Status Program::flatten(const std::vector<RuleSource>& rules) {
  uint32_t offset = 0;
  for (size_t rule = 0; rule < rules.size(); ++rule) {
    const Dfa& dfa = rules[rule].dfa;
    // A rule that matches the empty text could be called for ever without reading anything.
    CHECK(rule == 0 || !dfa.nodes[0].accepting);
    rules_.push_back({.start = offset, .rank = 0});
    for (const Dfa::Node& node : dfa.nodes) {
      nodes_.push_back({.edges = static_cast<uint32_t>(edges_.size()),
                        .jumps = static_cast<uint32_t>(jumps_.size()),
                        .rule = static_cast<uint32_t>(rule),
                        .need = 0,
                        .accepting = node.accepting});
      for (Dfa::Edge edge : node.edges) {
        edge.target += offset;
        edges_.push_back(edge);
      }
      for (Dfa::Jump jump : node.jumps) {
        jump.target += offset;
        jumps_.push_back(jump);
      }
    }
    offset += static_cast<uint32_t>(dfa.nodes.size());
  }
  nodes_.push_back({.edges = static_cast<uint32_t>(edges_.size()),
                    .jumps = static_cast<uint32_t>(jumps_.size())});
  return {};
}

void Program::find_needs() {
  NeedSearch search(num_nodes(), rules_.size());
  std::vector<uint32_t> accepting;
  for (uint32_t n = 0; n < num_nodes(); ++n) {
    if (nodes_[n].accepting) accepting.push_back(n);
    for (const Dfa::Edge& edge : edges(n)) search.add_step(n, edge.target);
    for (const Dfa::Jump& jump : jumps(n)) {
      if (jump.kind == Dfa::JumpKind::kCall) {
        search.add_call(n, jump.id, jump.target);
      } else {
        search.add_step(n, jump.target);
      }
    }
  }
  std::vector<uint32_t> starts;
  for (const Rule& rule : rules_) starts.push_back(rule.start);
  const std::vector<uint16_t> needs = search.run(accepting, starts);
  for (uint32_t n = 0; n < num_nodes(); ++n) nodes_[n].need = needs[n];
}

// Steps to nodes from where no end can be reached.
void Program::drop_dead_steps() {
  std::vector<Dfa::Edge> live_edges;
  std::vector<Dfa::Jump> live_jumps;
  for (uint32_t n = 0; n < num_nodes(); ++n) {
    const std::span<const Dfa::Edge> old_edges = edges(n);
    const std::span<const Dfa::Jump> old_jumps = jumps(n);
    nodes_[n].edges = static_cast<uint32_t>(live_edges.size());
    nodes_[n].jumps = static_cast<uint32_t>(live_jumps.size());
    for (const Dfa::Edge& edge : old_edges) {
      if (nodes_[edge.target].need != kEndless) live_edges.push_back(edge);
    }
    for (const Dfa::Jump& jump : old_jumps) {
      const bool calls = jump.kind == Dfa::JumpKind::kCall;
      if (nodes_[jump.target].need == kEndless) continue;
      if (calls && nodes_[rules_[jump.id].start].need == kEndless) continue;
      live_jumps.push_back(jump);
    }
  }
  nodes_.back().edges = static_cast<uint32_t>(live_edges.size());
  nodes_.back().jumps = static_cast<uint32_t>(live_jumps.size());
  edges_ = std::move(live_edges);
  jumps_ = std::move(live_jumps);
}

// Sorts the rules by "calls at its very start"; a circle would read nothing for ever.
Status Program::rank_rules(const std::vector<RuleSource>& rules) {
  std::vector<uint32_t> num_callers(rules_.size(), 0);
  const auto for_callees = [&](size_t rule, const auto& visit) {
    for (const Dfa::Jump& jump : jumps(rules_[rule].start)) {
      if (jump.kind == Dfa::JumpKind::kCall) visit(jump.id);
    }
  };
  for (size_t rule = 0; rule < rules_.size(); ++rule) {
    for_callees(rule, [&](int32_t callee) { ++num_callers[callee]; });
  }
  std::vector<size_t> order;
  for (size_t rule = 0; rule < rules_.size(); ++rule) {
    if (num_callers[rule] == 0) order.push_back(rule);
  }
  for (size_t at = 0; at < order.size(); ++at) {
    rules_[order[at]].rank = static_cast<uint32_t>(at);
    for_callees(order[at], [&](int32_t callee) {
      if (--num_callers[callee] == 0) order.push_back(callee);
    });
  }
  if (order.size() == rules_.size()) return {};
  for (size_t rule = 0; rule < rules_.size(); ++rule) {
    if (num_callers[rule] == 0) continue;
    return invalid_input("{} refers to itself without anything in between", rules[rule].name);
  }
  return {};
}

std::bitset<256> Program::first_bytes(uint32_t node,
                                      const std::vector<std::bitset<256>>& firsts) const {
  std::bitset<256> bytes;
  for (const Dfa::Edge& edge : edges(node)) {
    for (int byte = edge.first; byte <= edge.last; ++byte) bytes.set(byte);
  }
  for (const Dfa::Jump& jump : jumps(node)) {
    if (jump.kind == Dfa::JumpKind::kCall) bytes |= firsts[jump.id];
  }
  return bytes;
}

void Program::find_follows() {
  std::vector<uint32_t> by_rank(rules_.size());
  for (uint32_t rule = 0; rule < rules_.size(); ++rule) by_rank[rules_[rule].rank] = rule;
  std::vector<std::bitset<256>> firsts(rules_.size());
  for (auto rule = by_rank.rbegin(); rule != by_rank.rend(); ++rule) {
    firsts[*rule] = first_bytes(rules_[*rule].start, firsts);
  }
  std::vector<std::pair<uint32_t, int32_t>> last_calls;  // caller and callee that end together
  for (uint32_t n = 0; n < num_nodes(); ++n) {
    for (const Dfa::Jump& jump : jumps(n)) {
      if (jump.kind != Dfa::JumpKind::kCall) continue;
      rules_[jump.id].follow |= first_bytes(jump.target, firsts);
      if (nodes_[jump.target].accepting) last_calls.emplace_back(nodes_[n].rule, jump.id);
    }
  }
  std::sort(last_calls.begin(), last_calls.end());
  last_calls.erase(std::unique(last_calls.begin(), last_calls.end()), last_calls.end());
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [caller, callee] : last_calls) {
      const std::bitset<256> all = rules_[callee].follow | rules_[caller].follow;
      changed |= all != rules_[callee].follow;
      rules_[callee].follow = all;
    }
  }
}

}  // namespace ferry::grammar
