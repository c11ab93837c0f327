// From what a client wrote to a Grammar, with the budget that keeps hostile constraints from
// hurting anyone, and with a cache: clients send the same schema with every request.
#pragma once

#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/rule_set.h"
#include "grammar/tool_calls.h"

namespace ferry::grammar {

// What a constraint is, as text. The same text gives the same grammar.
struct ConstraintText {
  enum class Kind { kJsonObject, kJsonSchema, kRegex, kChoice, kText };  // kText: any
  Kind kind = Kind::kJsonObject;
  std::string text;                  // of the schema or regex
  std::vector<std::string> choices;  // at least one, each not empty
  // What the model thinks first is free: until this text has been written, and line ends behind it.
  // Empty: the constraint holds from the first token.
  std::string after;
  // With `after`: only a text that begins with this thinks first. Empty: every text does.
  std::string opening;
  std::optional<ToolCallText> calls;  // of tools that the answer may or must have
};

// Errors name the keyword or construct and its place, or the limit that was met.
Result<GrammarRef> compile(const ConstraintText& constraint, VocabularyRef vocabulary,
                           const CompileLimits& limits = {});

// Grammars by key, the least recently used dropped first. Thread-safe; two threads that miss at
// once both compile.
class GrammarCache {
 public:
  explicit GrammarCache(size_t max_entries = 32) : max_entries_(max_entries) {}

  GrammarRef find(const std::string& key);
  void add(const std::string& key, GrammarRef grammar);
  size_t size() const;

 private:
  using Entry = std::pair<std::string, GrammarRef>;
  const size_t max_entries_;
  mutable std::mutex mutex_;  // guards what follows
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> index_;  // keys of entries_
};

// compile() with a cache. Thread-safe.
class Compiler {
 public:
  explicit Compiler(VocabularyRef vocabulary, const CompileLimits& limits = {})
      : vocabulary_(std::move(vocabulary)), limits_(limits) {}

  Result<GrammarRef> compile(const ConstraintText& constraint);

  const VocabularyRef& vocabulary() const { return vocabulary_; }
  const CompileLimits& limits() const { return limits_; }
  GrammarCache& cache() { return cache_; }

 private:
  const VocabularyRef vocabulary_;
  const CompileLimits limits_;
  GrammarCache cache_;
};

}  // namespace ferry::grammar
