// Expr → nondeterministic automaton (one fragment per node of the tree, joined by empty steps) →
// subset construction, in which calls and control tokens are letters like any other.
#include "grammar/expr.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

namespace ferry::grammar {
namespace {

struct NfaNode {
  std::vector<Dfa::Edge> edges;
  std::vector<Dfa::Jump> jumps;
  std::vector<uint32_t> empty;  // steps that read nothing
};

class NfaBuilder {
 public:
  explicit NfaBuilder(Budget& budget) : budget_(budget) {}

  // `expr` between node 0 (start) and node 1 (end).
  Result<std::vector<NfaNode>> build(const Expr& expr) {
    nodes_.resize(2);
    FERRY_TRY_VOID(add(expr, 0, 1));
    return std::move(nodes_);
  }

 private:
  Result<uint32_t> new_node() {
    FERRY_TRY_VOID(budget_.take_work(1));
    if (nodes_.size() >= static_cast<size_t>(8 * budget_.limits().max_states)) {
      FERRY_TRY_VOID(budget_.take_states(budget_.limits().max_states + 1));
    }
    nodes_.emplace_back();
    return static_cast<uint32_t>(nodes_.size() - 1);
  }
  void skip(uint32_t from, uint32_t to) { nodes_[from].empty.push_back(to); }

  Status add(const Expr& expr, uint32_t from, uint32_t to) {
    switch (expr.kind) {
      case Expr::Kind::kBytes: return add_bytes(expr.bytes, from, to);
      case Expr::Kind::kChars: return add_chars(expr, from, to);
      case Expr::Kind::kSequence: return add_sequence(expr.parts, from, to);
      case Expr::Kind::kChoice:
        for (const ExprRef& part : expr.parts) {
          FERRY_TRY(const uint32_t begin, new_node());
          skip(from, begin);
          FERRY_TRY_VOID(add(*part, begin, to));
        }
        return {};
      case Expr::Kind::kRepeat: return add_repeat(expr, from, to);
      case Expr::Kind::kList: return add_list(expr, from, to);
      case Expr::Kind::kJump: nodes_[from].jumps.push_back({expr.jump, expr.id, to}); return {};
      case Expr::Kind::kDfa: return add_dfa(*expr.dfa, from, to);
    }
    return {};
  }

  Status add_bytes(std::string_view text, uint32_t from, uint32_t to) {
    if (text.empty()) {
      skip(from, to);
      return {};
    }
    for (size_t i = 0; i < text.size(); ++i) {
      uint32_t next = to;
      if (i + 1 < text.size()) {
        FERRY_TRY(next, new_node());
      }
      const auto byte = static_cast<uint8_t>(text[i]);
      nodes_[from].edges.push_back({byte, byte, next});
      from = next;
    }
    return {};
  }

  Status add_sequence(const std::vector<ExprRef>& parts, uint32_t from, uint32_t to) {
    for (const ExprRef& part : parts) {
      FERRY_TRY(const uint32_t next, new_node());
      FERRY_TRY_VOID(add(*part, from, next));
      from = next;
    }
    skip(from, to);
    return {};
  }

  // A set of characters is made deterministic once, however often it is repeated.
  Status add_chars(const Expr& expr, uint32_t from, uint32_t to) {
    auto found = char_automata_.find(&expr);
    if (found == char_automata_.end()) {
      Dfa dfa;
      dfa.nodes.resize(2);
      dfa.nodes[1].accepting = true;
      for (const ByteSequence& sequence : utf8_sequences(expr.chars)) {
        FERRY_TRY_VOID(budget_.take_work(sequence.length));
        add_byte_sequence(dfa, sequence);
      }
      found = char_automata_.emplace(&expr, minimize(std::move(dfa))).first;
    }
    return add_dfa(found->second, from, to);
  }

  // Sequences come in ascending order and don't overlap, so that only the last edge can be shared.
  static void add_byte_sequence(Dfa& dfa, const ByteSequence& sequence) {
    uint32_t node = 0;
    for (int i = 0; i < sequence.length; ++i) {
      const auto [first, last] = sequence.bytes[i];
      std::vector<Dfa::Edge>& edges = dfa.nodes[node].edges;
      if (!edges.empty() && edges.back().first == first && edges.back().last == last) {
        node = edges.back().target;
        continue;
      }
      const bool ends = i + 1 == sequence.length;
      const uint32_t target = ends ? 1 : static_cast<uint32_t>(dfa.nodes.size());
      edges.push_back({first, last, target});
      if (!ends) dfa.nodes.emplace_back();
      node = target;
    }
  }

  Status add_repeat(const Expr& expr, uint32_t from, uint32_t to) {
    const Expr& part = *expr.parts[0];
    for (int64_t i = 0; i < expr.min; ++i) {
      FERRY_TRY(const uint32_t next, new_node());
      FERRY_TRY_VOID(add(part, from, next));
      from = next;
    }
    if (expr.max < 0) {
      FERRY_TRY(const uint32_t loop, new_node());
      FERRY_TRY(const uint32_t body, new_node());
      skip(from, loop);
      skip(loop, body);
      skip(loop, to);
      return add(part, body, loop);
    }
    for (int64_t i = expr.min; i < expr.max; ++i) {
      FERRY_TRY(const uint32_t next, new_node());
      FERRY_TRY(const uint32_t begin, new_node());
      skip(from, to);
      skip(from, begin);
      FERRY_TRY_VOID(add(part, begin, next));
      from = next;
    }
    skip(from, to);
    return {};
  }

  // Two rows of nodes, for "nothing yet" (`none`) and "the last part was written" (`some`), so that
  // it is known whether a separator must come.
  Status add_list(const Expr& expr, uint32_t from, uint32_t to) {
    uint32_t none = from;
    FERRY_TRY(uint32_t some, new_node());
    for (size_t i = 0; i < expr.parts.size(); ++i) {
      FERRY_TRY(const uint32_t begin, new_node());
      FERRY_TRY(const uint32_t next_some, new_node());
      FERRY_TRY(const uint32_t next_none, new_node());
      skip(none, begin);
      FERRY_TRY_VOID(add(*expr.separator, some, begin));
      FERRY_TRY_VOID(add(*expr.parts[i], begin, next_some));
      if (!expr.required[i]) {
        skip(none, next_none);
        skip(some, next_some);
      }
      none = next_none;
      some = next_some;
    }
    skip(none, to);
    skip(some, to);
    if (expr.rest == nullptr) return {};
    FERRY_TRY(const uint32_t begin, new_node());
    FERRY_TRY(const uint32_t again, new_node());
    skip(none, begin);
    skip(some, again);
    FERRY_TRY_VOID(add(*expr.separator, again, begin));
    FERRY_TRY_VOID(add(*expr.rest, begin, again));
    skip(again, to);
    return {};
  }

  Status add_dfa(const Dfa& dfa, uint32_t from, uint32_t to) {
    std::vector<uint32_t> names(dfa.nodes.size());
    for (uint32_t& name : names) {
      FERRY_TRY(name, new_node());
    }
    skip(from, names[0]);
    for (size_t i = 0; i < dfa.nodes.size(); ++i) {
      const Dfa::Node& node = dfa.nodes[i];
      NfaNode& copy = nodes_[names[i]];
      for (Dfa::Edge edge : node.edges) {
        edge.target = names[edge.target];
        copy.edges.push_back(edge);
      }
      for (Dfa::Jump jump : node.jumps) {
        jump.target = names[jump.target];
        copy.jumps.push_back(jump);
      }
      if (node.accepting) copy.empty.push_back(to);
    }
    return {};
  }

  Budget& budget_;
  std::vector<NfaNode> nodes_;
  std::unordered_map<const Expr*, Dfa> char_automata_;
};

class SubsetConstruction {
 public:
  SubsetConstruction(const std::vector<NfaNode>& nfa, Budget& budget)
      : nfa_(nfa), budget_(budget), mark_(nfa.size(), 0) {}

  Result<Dfa> build() {
    FERRY_TRY_VOID(node_of({0}));
    for (size_t at = 0; at < subsets_.size(); ++at) {
      const std::vector<uint32_t> subset = *subsets_[at];  // the map may grow below
      FERRY_TRY_VOID(add_edges(at, subset));
      FERRY_TRY_VOID(add_jumps(at, subset));
    }
    return std::move(out_);
  }

 private:
  Result<std::vector<uint32_t>> closure(std::vector<uint32_t> nodes) {
    ++generation_;
    std::vector<uint32_t> reached;
    while (!nodes.empty()) {
      const uint32_t node = nodes.back();
      nodes.pop_back();
      if (mark_[node] == generation_) continue;
      mark_[node] = generation_;
      FERRY_TRY_VOID(budget_.take_work(1));
      // Nodes that only lead on by empty steps say nothing by themselves.
      const NfaNode& at = nfa_[node];
      if (node == 1 || !at.edges.empty() || !at.jumps.empty()) reached.push_back(node);
      nodes.insert(nodes.end(), at.empty.begin(), at.empty.end());
    }
    std::sort(reached.begin(), reached.end());
    return reached;
  }

  Result<uint32_t> node_of(std::vector<uint32_t> nodes) {
    FERRY_TRY(std::vector<uint32_t> subset, closure(std::move(nodes)));
    const auto [entry, is_new] =
        index_.emplace(std::move(subset), static_cast<uint32_t>(subsets_.size()));
    if (is_new) {
      FERRY_TRY_VOID(budget_.take_states(1));
      subsets_.push_back(&entry->first);
      const bool accepting = std::binary_search(entry->first.begin(), entry->first.end(), 1u);
      out_.nodes.push_back({.edges = {}, .jumps = {}, .accepting = accepting});
    }
    return entry->second;
  }

  Status add_edges(size_t at, const std::vector<uint32_t>& subset) {
    std::vector<Dfa::Edge> all;
    bool begins[257] = {};
    for (uint32_t node : subset) {
      for (const Dfa::Edge& edge : nfa_[node].edges) {
        all.push_back(edge);
        begins[edge.first] = begins[edge.last + 1] = true;
      }
    }
    FERRY_TRY_VOID(budget_.take_work(static_cast<int64_t>(all.size()) + 1));
    std::vector<Dfa::Edge> edges;
    for (int byte = 0; byte < 256 && !all.empty();) {
      int end = byte + 1;
      while (end < 256 && !begins[end]) ++end;
      std::vector<uint32_t> targets;
      for (const Dfa::Edge& edge : all) {
        if (edge.first <= byte && byte <= edge.last) targets.push_back(edge.target);
      }
      FERRY_TRY_VOID(budget_.take_work(static_cast<int64_t>(all.size()) / 8 + 1));
      if (!targets.empty()) {
        FERRY_TRY(const uint32_t target, node_of(std::move(targets)));
        if (!edges.empty() && edges.back().target == target && edges.back().last + 1 == byte) {
          edges.back().last = static_cast<uint8_t>(end - 1);
        } else {
          edges.push_back({static_cast<uint8_t>(byte), static_cast<uint8_t>(end - 1), target});
        }
      }
      byte = end;
    }
    out_.nodes[at].edges = std::move(edges);
    return {};
  }

  Status add_jumps(size_t at, const std::vector<uint32_t>& subset) {
    std::map<std::pair<Dfa::JumpKind, int32_t>, std::vector<uint32_t>> targets;
    for (uint32_t node : subset) {
      for (const Dfa::Jump& jump : nfa_[node].jumps) {
        targets[{jump.kind, jump.id}].push_back(jump.target);
      }
    }
    std::vector<Dfa::Jump> jumps;
    for (auto& [letter, nodes] : targets) {
      FERRY_TRY(const uint32_t target, node_of(std::move(nodes)));
      jumps.push_back({letter.first, letter.second, target});
    }
    out_.nodes[at].jumps = std::move(jumps);
    return {};
  }

  const std::vector<NfaNode>& nfa_;
  Budget& budget_;
  std::vector<uint32_t> mark_;
  uint32_t generation_ = 0;
  std::map<std::vector<uint32_t>, uint32_t> index_;
  std::vector<const std::vector<uint32_t>*> subsets_;
  Dfa out_;
};

ExprRef make(Expr expr) { return std::make_shared<const Expr>(std::move(expr)); }

}  // namespace

ExprRef bytes(std::string_view text) {
  return make({.kind = Expr::Kind::kBytes, .bytes = std::string(text)});
}
ExprRef chars(CharSet set) {
  return make({.kind = Expr::Kind::kChars, .bytes = {}, .chars = std::move(set)});
}
ExprRef sequence(std::vector<ExprRef> parts) {
  Expr expr;
  expr.kind = Expr::Kind::kSequence;
  expr.parts = std::move(parts);
  return make(std::move(expr));
}
ExprRef choice(std::vector<ExprRef> parts) {
  Expr expr;
  expr.kind = Expr::Kind::kChoice;
  expr.parts = std::move(parts);
  return make(std::move(expr));
}
ExprRef repeat(ExprRef part, int64_t min, int64_t max) {
  Expr expr;
  expr.kind = Expr::Kind::kRepeat;
  expr.parts.push_back(std::move(part));
  expr.min = min;
  expr.max = max;
  return make(std::move(expr));
}
ExprRef optional(ExprRef part) { return repeat(std::move(part), 0, 1); }
ExprRef list(std::vector<ExprRef> parts, std::vector<bool> required, ExprRef separator,
             ExprRef rest) {
  Expr expr;
  expr.kind = Expr::Kind::kList;
  expr.parts = std::move(parts);
  expr.required = std::move(required);
  expr.separator = std::move(separator);
  expr.rest = std::move(rest);
  return make(std::move(expr));
}
ExprRef call(int32_t rule) {
  Expr expr;
  expr.kind = Expr::Kind::kJump;
  expr.id = rule;
  return make(std::move(expr));
}
ExprRef control_token(int32_t token) {
  Expr expr;
  expr.kind = Expr::Kind::kJump;
  expr.jump = Dfa::JumpKind::kToken;
  expr.id = token;
  return make(std::move(expr));
}
ExprRef automaton(Dfa dfa) {
  Expr expr;
  expr.kind = Expr::Kind::kDfa;
  expr.dfa = std::make_shared<const Dfa>(std::move(dfa));
  return make(std::move(expr));
}

Result<Dfa> to_dfa(const ExprRef& expr, Budget& budget) {
  FERRY_TRY(const std::vector<NfaNode> nfa, NfaBuilder(budget).build(*expr));
  FERRY_TRY(Dfa dfa, SubsetConstruction(nfa, budget).build());
  const auto before = static_cast<int64_t>(dfa.nodes.size());
  Dfa small = minimize(std::move(dfa));
  budget.give_back_states(before - static_cast<int64_t>(small.nodes.size()));
  return small;
}

}  // namespace ferry::grammar
