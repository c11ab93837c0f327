// See rule_set.h.
#include "grammar/rule_set.h"

#include <utility>

namespace ferry::grammar {

int32_t RuleSet::reserve(std::string name) {
  // Until it is defined, nothing matches it.
  rules_.push_back({std::move(name), Dfa{.nodes = {Dfa::Node{}}}});
  return static_cast<int32_t>(rules_.size() - 1);
}

Status RuleSet::define(int32_t rule, const ExprRef& expr) {
  FERRY_TRY(Dfa dfa, to_dfa(expr, budget_));
  return define(rule, std::move(dfa));
}

Status RuleSet::define(int32_t rule, Dfa dfa) {
  rules_[rule].dfa = std::move(dfa);
  return {};
}

std::optional<int32_t> RuleSet::find(const std::string& key) const {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  return found->second;
}

int32_t RuleSet::reserve_as(const std::string& key, std::string name) {
  const int32_t rule = reserve(std::move(name));
  by_key_[key] = rule;
  return rule;
}

}  // namespace ferry::grammar
