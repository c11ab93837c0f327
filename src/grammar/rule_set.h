// RuleSet: the rules of a grammar while it is being built, with those that every JSON grammar
// shares (any string, any value, …) made on first use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "grammar/budget.h"
#include "grammar/expr.h"
#include "grammar/program.h"

namespace ferry::grammar {

class RuleSet {
 public:
  // Rule 0, the root, is there from the start.
  explicit RuleSet(Budget& budget) : budget_(budget) { reserve("the constraint"); }

  Budget& budget() { return budget_; }

  // A rule that is defined later, so that others can call it already.
  int32_t reserve(std::string name);
  // REQUIRES: nothing but the root may match the empty text
  Status define(int32_t rule, const ExprRef& expr);
  Status define(int32_t rule, Dfa dfa);

  // A rule by what it stands for; nullopt: not there yet.
  std::optional<int32_t> find(const std::string& key) const;
  int32_t reserve_as(const std::string& key, std::string name);

  // Numbers schemas that don't know each other, so that their rules are not mixed up.
  int next_document() { return ++num_documents_; }

  Result<Program> link() const { return Program::link(rules_); }

 private:
  Budget& budget_;
  int num_documents_ = 0;
  std::vector<RuleSource> rules_;
  std::unordered_map<std::string, int32_t> by_key_;
};

}  // namespace ferry::grammar
