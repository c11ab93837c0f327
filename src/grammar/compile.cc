// See compile.h.
#include "grammar/compile.h"

#include "grammar/free_text.h"
#include "grammar/json_schema.h"
#include "grammar/json_text.h"
#include "grammar/regex.h"

namespace ferry::grammar {
namespace {

constexpr size_t kMaxChoices = 4096;
constexpr int64_t kMaxLineEnds = 4;  // behind what is free

Result<ExprRef> add_choices(const std::vector<std::string>& choices) {
  if (choices.empty()) return invalid_input("choice: at least one is needed");
  if (choices.size() > kMaxChoices) {
    return invalid_input("choice: {} choices; at most {} are allowed", choices.size(), kMaxChoices);
  }
  std::vector<ExprRef> ways;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].empty()) return invalid_input("choice[{}]: is empty", i);
    ways.push_back(bytes(choices[i]));
  }
  return choice(std::move(ways));
}

Result<ExprRef> add_constraint(RuleSet& rules, const ConstraintText& constraint) {
  switch (constraint.kind) {
    case ConstraintText::Kind::kJsonObject: return json_any_object(rules);
    case ConstraintText::Kind::kJsonSchema: {
      const int64_t max_bytes = rules.budget().limits().max_text_bytes;
      Result<Json> schema = parse_json(
          constraint.text, {.max_bytes = max_bytes, .max_depth = 128, .max_values = 200'000});
      if (!schema.ok()) return schema.error().in("schema");
      return add_json_schema(rules, *schema);
    }
    case ConstraintText::Kind::kRegex:
      return parse_regex(constraint.text, RegexMatch::kWhole,
                         [](const CharSet& set) { return chars(set); });
    case ConstraintText::Kind::kChoice: return add_choices(constraint.choices);
    case ConstraintText::Kind::kText: return ExprRef();
  }
  return bytes("");
}

std::string key_of(const ConstraintText& constraint) {
  std::string key = std::to_string(static_cast<int>(constraint.kind));
  const auto add = [&key](const std::string& part) {
    key += ":" + std::to_string(part.size()) + ":" + part;
  };
  add(constraint.after);
  add(constraint.opening);
  add(constraint.text);
  for (const std::string& choice : constraint.choices) add(choice);
  if (constraint.calls.has_value()) {
    const ToolCallText& calls = *constraint.calls;
    key += calls.required ? ":required" : ":allowed";
    key += calls.parallel ? "*" : "1";
    key += calls.numbered ? "#" : "";
    if (calls.elements.has_value()) {
      const ElementSpelling& spelling = *calls.elements;
      key += spelling.typed ? ":typed" : ":untyped";
      for (const std::string* part :
           {&spelling.begin, &spelling.text, &spelling.json, &spelling.value_end, &spelling.end,
            &spelling.behind, &spelling.none}) {
        add(*part);
      }
    }
    for (const std::string* part :
         {&calls.lead, &calls.begin, &calls.before_name, &calls.before_arguments,
          &calls.after_arguments, &calls.between, &calls.end}) {
      add(*part);
    }
    for (const ToolCallText::Tool& tool : calls.tools) {
      key += tool.strict ? ":strict" : ":loose";
      add(tool.name);
      add(tool.parameters);
    }
  }
  return key;
}

}  // namespace

Result<GrammarRef> compile(const ConstraintText& constraint, VocabularyRef vocabulary,
                           const CompileLimits& limits) {
  Budget budget(limits);
  int64_t num_bytes = static_cast<int64_t>(constraint.text.size());
  for (const std::string& choice : constraint.choices) {
    num_bytes += static_cast<int64_t>(choice.size());
  }
  if (constraint.calls.has_value()) {
    for (const ToolCallText::Tool& tool : constraint.calls->tools) {
      num_bytes += static_cast<int64_t>(tool.parameters.size());
    }
  }
  if (num_bytes > limits.max_text_bytes) {
    return invalid_input("the constraint has {} bytes; at most {} are allowed", num_bytes,
                         limits.max_text_bytes);
  }
  RuleSet rules(budget);
  FERRY_TRY(ExprRef expr, add_constraint(rules, constraint));
  if (constraint.calls.has_value()) {
    FERRY_TRY(expr, add_tool_calls(rules, *constraint.calls, expr, *vocabulary));
  }
  if (expr == nullptr) return invalid_input("the constraint allows everything");
  if (!constraint.after.empty()) {
    ExprRef thoughts = sequence(
        {free_text_until({constraint.after}, *vocabulary), repeat(bytes("\n"), 0, kMaxLineEnds)});
    if (!constraint.opening.empty()) {
      thoughts = optional(sequence({spelled(constraint.opening, *vocabulary), thoughts}));
    }
    expr = sequence({std::move(thoughts), std::move(expr)});
  }
  FERRY_TRY_VOID(rules.define(0, expr));
  FERRY_TRY(Program program, rules.link());
  return GrammarRef(std::make_shared<const Grammar>(std::move(program), std::move(vocabulary)));
}

GrammarRef GrammarCache::find(const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto found = index_.find(key);
  if (found == index_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->second;
}

void GrammarCache::add(const std::string& key, GrammarRef grammar) {
  std::lock_guard lock(mutex_);
  if (index_.count(key) > 0) return;
  entries_.emplace_front(key, std::move(grammar));
  index_.emplace(entries_.front().first, entries_.begin());
  if (entries_.size() <= max_entries_) return;
  index_.erase(entries_.back().first);
  entries_.pop_back();
}

size_t GrammarCache::size() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

Result<GrammarRef> Compiler::compile(const ConstraintText& constraint) {
  const std::string key = key_of(constraint);
  if (GrammarRef known = cache_.find(key)) return known;
  FERRY_TRY(GrammarRef grammar, grammar::compile(constraint, vocabulary_, limits_));
  cache_.add(key, grammar);
  return grammar;
}

}  // namespace ferry::grammar
