// Constrained decoding: which tokens may come next so that the text fits a constraint, for sure.
//
//   FRONT  json_schema.h, regex.h, …   what clients write → Expr
//   MIDDLE dfa.h, program.h, stack.h   byte automata that call each other, checked never to get
//   stuck BACK   node_mask.h, here           tokens of a vocabulary → a bit each
//
// A Grammar is immutable and shared between threads and requests (its cache of masks locks by
// itself). A Matcher is one text under way; it belongs to one thread at a time.
//
// Every text a Matcher was led through to can_end() satisfies the constraint, byte for byte. What a
// mask allows can always be continued to an end: a text is only ever left incomplete by who stops
// asking (max_tokens).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "grammar/budget.h"
#include "grammar/node_mask.h"
#include "grammar/program.h"
#include "grammar/stack.h"
#include "grammar/vocabulary.h"

namespace ferry::grammar {

class Grammar {
 public:
  Grammar(Program program, VocabularyRef vocabulary);

  const Program& program() const { return program_; }
  const Vocabulary& vocabulary() const { return *vocabulary_; }

  // Thread-safe. The first call for a node walks the vocabulary.
  std::shared_ptr<const NodeMask> mask_of(uint32_t node) const;

  size_t mask_bytes() const;  // held by the cache now

 private:
  void find_alike();

  const Program program_;
  const VocabularyRef vocabulary_;
  // Nodes that no token of this vocabulary can tell apart share one mask: the first one's. Empty:
  // each node has its own.
  std::vector<uint32_t> alike_;
  mutable std::mutex mutex_;  // guards what follows
  mutable std::unordered_map<uint32_t, std::shared_ptr<const NodeMask>> masks_;
  mutable size_t mask_bytes_ = 0;
};

using GrammarRef = std::shared_ptr<const Grammar>;

class Matcher {
 public:
  // Tokens that rollback() can take back.
  static constexpr size_t kMaxRollback = 64;

  explicit Matcher(GrammarRef grammar);
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;

  // One bit per token id, bit id % 32 of word id / 32; all are overwritten. Ids that end a text are
  // allowed when can_end(). REQUIRES: mask.size() == vocabulary().mask_words()
  void fill_mask(std::span<uint32_t> mask);

  // False, and nothing changed: the token is not allowed here. Nothing is allowed after a token
  // that ends the text.
  bool accept(int32_t token);
  bool can_end() const { return !ended_ && history_.back().complete; }
  bool ended() const { return ended_; }

  // Takes back the last `count` accepted tokens. REQUIRES: at most kMaxRollback, and as many as
  // were accepted
  void rollback(size_t count);

  const Grammar& grammar() const { return *grammar_; }

 private:
  GrammarRef grammar_;
  FrameTable table_;
  Stepper stepper_;
  std::deque<State> history_;  // back: now
  bool ended_ = false;
};

}  // namespace ferry::grammar
