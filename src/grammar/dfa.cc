// See dfa.h.
#include "grammar/dfa.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

namespace ferry::grammar {
namespace {

constexpr size_t kMaxMinimizedNodes = 5000;
constexpr size_t kMaxMinimizeSteps = 200'000;  // nodes times rounds
constexpr uint32_t kDead = UINT32_MAX;

// Neighbouring edges to one target become one edge.
void add_edge(std::vector<Dfa::Edge>& edges, Dfa::Edge edge) {
  if (!edges.empty() && edges.back().target == edge.target && edges.back().last + 1 == edge.first) {
    edges.back().last = edge.last;
  } else {
    edges.push_back(edge);
  }
}

// All that can be told of a node when its neighbours are known by their classes only.
struct Signature {
  Dfa::Node node;
  friend bool operator<(const Signature& a, const Signature& b) {
    const auto edge_less = [](const Dfa::Edge& x, const Dfa::Edge& y) {
      return std::tie(x.first, x.last, x.target) < std::tie(y.first, y.last, y.target);
    };
    const auto jump_less = [](const Dfa::Jump& x, const Dfa::Jump& y) {
      return std::tie(x.kind, x.id, x.target) < std::tie(y.kind, y.id, y.target);
    };
    if (a.node.accepting != b.node.accepting) return b.node.accepting;
    if (a.node.edges != b.node.edges) {
      return std::lexicographical_compare(a.node.edges.begin(), a.node.edges.end(),
                                          b.node.edges.begin(), b.node.edges.end(), edge_less);
    }
    return std::lexicographical_compare(a.node.jumps.begin(), a.node.jumps.end(),
                                        b.node.jumps.begin(), b.node.jumps.end(), jump_less);
  }
};

Dfa::Node seen_as_classes(const Dfa::Node& node, const std::vector<uint32_t>& class_of) {
  Dfa::Node seen{.edges = {}, .jumps = node.jumps, .accepting = node.accepting};
  for (const Dfa::Edge& edge : node.edges) {
    add_edge(seen.edges, {edge.first, edge.last, class_of[edge.target]});
  }
  for (Dfa::Jump& jump : seen.jumps) jump.target = class_of[jump.target];
  return seen;
}

enum class Combine { kIntersect, kSubtract };

// The product of two automata; in the second one kDead stands for "nothing can match any more".
class Product {
 public:
  Product(const Dfa& a, const Dfa& b, Combine how, Budget& budget)
      : a_(a), b_(b), how_(how), budget_(budget) {}

  Result<Dfa> build() {
    FERRY_TRY_VOID(node_of(0, 0));
    for (size_t at = 0; at < pairs_.size(); ++at) {
      FERRY_TRY_VOID(expand(at));
    }
    return std::move(out_);
  }

 private:
  Result<uint32_t> node_of(uint32_t a, uint32_t b) {
    const uint64_t key = (uint64_t{a} << 32) | b;
    const auto found = index_.find(key);
    if (found != index_.end()) return found->second;
    FERRY_TRY_VOID(budget_.take_states(1));
    const auto id = static_cast<uint32_t>(pairs_.size());
    index_.emplace(key, id);
    pairs_.push_back({a, b});
    const bool second = b != kDead && b_.nodes[b].accepting;
    out_.nodes.push_back(
        {.edges = {},
         .jumps = {},
         .accepting = a_.nodes[a].accepting && second == (how_ == Combine::kIntersect)});
    return id;
  }

  // Where a byte from `byte` on leads in b_, and how far that holds.
  std::pair<uint32_t, int> step_b(uint32_t b, int byte) const {
    if (b == kDead) return {kDead, 255};
    int until = 255;
    for (const Dfa::Edge& edge : b_.nodes[b].edges) {
      if (byte > edge.last) continue;
      if (byte >= edge.first) return {edge.target, edge.last};
      until = edge.first - 1;
      break;
    }
    return {kDead, until};
  }

  Status expand(size_t at) {
    const auto [a, b] = pairs_[at];
    std::vector<Dfa::Edge> edges;
    for (const Dfa::Edge& edge : a_.nodes[a].edges) {
      for (int byte = edge.first; byte <= edge.last;) {
        FERRY_TRY_VOID(budget_.take_work(1));
        auto [target, until] = step_b(b, byte);
        until = std::min<int>(until, edge.last);
        if (target != kDead || how_ == Combine::kSubtract) {
          FERRY_TRY(const uint32_t node, node_of(edge.target, target));
          add_edge(edges, {static_cast<uint8_t>(byte), static_cast<uint8_t>(until), node});
        }
        byte = until + 1;
      }
    }
    out_.nodes[at].edges = std::move(edges);
    return {};
  }

  const Dfa& a_;
  const Dfa& b_;
  Combine how_;
  Budget& budget_;
  Dfa out_;
  std::vector<std::pair<uint32_t, uint32_t>> pairs_;
  std::unordered_map<uint64_t, uint32_t> index_;
};

// Without the nodes that lead nowhere: a product has many.
Dfa trim(Dfa dfa) {
  const size_t count = dfa.nodes.size();
  std::vector<std::vector<uint32_t>> sources(count);
  std::vector<uint32_t> queue;
  std::vector<bool> alive(count, false);
  for (uint32_t i = 0; i < count; ++i) {
    for (const Dfa::Edge& edge : dfa.nodes[i].edges) sources[edge.target].push_back(i);
    if (dfa.nodes[i].accepting) {
      alive[i] = true;
      queue.push_back(i);
    }
  }
  for (size_t at = 0; at < queue.size(); ++at) {
    for (uint32_t source : sources[queue[at]]) {
      if (alive[source]) continue;
      alive[source] = true;
      queue.push_back(source);
    }
  }
  alive[0] = true;
  std::vector<uint32_t> renamed(count, 0);
  Dfa out;
  for (uint32_t i = 0; i < count; ++i) {
    if (!alive[i]) continue;
    renamed[i] = static_cast<uint32_t>(out.nodes.size());
    out.nodes.push_back(std::move(dfa.nodes[i]));
  }
  for (Dfa::Node& node : out.nodes) {
    std::erase_if(node.edges, [&](const Dfa::Edge& edge) { return !alive[edge.target]; });
    for (Dfa::Edge& edge : node.edges) edge.target = renamed[edge.target];
  }
  return out;
}

Result<Dfa> combine(const Dfa& a, const Dfa& b, Combine how, Budget& budget) {
  FERRY_TRY(Dfa product, Product(a, b, how, budget).build());
  const auto before = static_cast<int64_t>(product.nodes.size());
  Dfa small = minimize(trim(std::move(product)));
  budget.give_back_states(before);
  FERRY_TRY_VOID(budget.take_states(static_cast<int64_t>(small.nodes.size())));
  return small;
}

}  // namespace

int64_t Dfa::next(uint32_t node, uint8_t byte) const {
  for (const Edge& edge : nodes[node].edges) {
    if (byte <= edge.last) return byte >= edge.first ? edge.target : int64_t{-1};
  }
  return -1;
}

bool Dfa::matches(std::string_view text) const {
  int64_t node = 0;
  for (char c : text) {
    node = next(static_cast<uint32_t>(node), static_cast<uint8_t>(c));
    if (node < 0) return false;
  }
  return nodes[node].accepting;
}

bool Dfa::is_empty() const {
  const Dfa trimmed = trim(*this);
  return trimmed.nodes.size() == 1 && !trimmed.nodes[0].accepting;
}

Dfa minimize(Dfa dfa) {
  const size_t count = dfa.nodes.size();
  if (count > kMaxMinimizedNodes || count < 2) return dfa;
  std::vector<uint32_t> class_of(count, 0);
  size_t num_classes = 1;
  for (size_t steps = 0; steps < kMaxMinimizeSteps; steps += count) {
    std::map<Signature, uint32_t> classes;
    std::vector<uint32_t> refined(count);
    for (size_t i = 0; i < count; ++i) {
      // In order of their first node, so that the start stays class 0.
      const auto next_class = static_cast<uint32_t>(classes.size());
      refined[i] = classes.emplace(Signature{seen_as_classes(dfa.nodes[i], class_of)}, next_class)
                       .first->second;
    }
    const bool stable = classes.size() == num_classes;
    num_classes = classes.size();
    class_of = std::move(refined);
    if (!stable) continue;
    if (num_classes == count) return dfa;
    Dfa out;
    out.nodes.resize(num_classes);
    for (size_t i = 0; i < count; ++i) {
      out.nodes[class_of[i]] = seen_as_classes(dfa.nodes[i], class_of);
    }
    return out;
  }
  return dfa;
}

Result<Dfa> intersect(const Dfa& a, const Dfa& b, Budget& budget) {
  return combine(a, b, Combine::kIntersect, budget);
}

Result<Dfa> subtract(const Dfa& a, const Dfa& b, Budget& budget) {
  return combine(a, b, Combine::kSubtract, budget);
}

}  // namespace ferry::grammar
