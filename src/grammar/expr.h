// Expr: what a rule matches, as a tree: the common language of the front ends (JSON schema, regex,
// choice, tool calls). to_dfa() makes an automaton of it. Trees are immutable and share parts.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/char_set.h"
#include "grammar/dfa.h"

namespace ferry::grammar {

struct Expr;
using ExprRef = std::shared_ptr<const Expr>;

struct Expr {
  enum class Kind {
    kBytes,     // `bytes`; empty ones match the empty text
    kChars,     // one character of `chars`, as UTF-8
    kSequence,  // all `parts`, one after the other
    kChoice,    // one of `parts`; none: nothing matches
    kRepeat,    // parts[0], `min` to `max` times; max -1: without end
    kList,      // those of `parts` in order, with `separator` between any two; see list()
    kJump,      // a call or a control token
    kDfa,       // what `dfa` accepts
  };
  Kind kind = Kind::kBytes;
  std::string bytes;
  CharSet chars;
  std::vector<ExprRef> parts;
  int64_t min = 0, max = 0;
  std::vector<bool> required;  // of a list: which parts can't be left out
  ExprRef separator, rest;
  Dfa::JumpKind jump = Dfa::JumpKind::kCall;
  int32_t id = 0;
  DfaRef dfa;
};

ExprRef bytes(std::string_view text);
ExprRef chars(CharSet set);
ExprRef sequence(std::vector<ExprRef> parts);
ExprRef choice(std::vector<ExprRef> parts);
ExprRef repeat(ExprRef part, int64_t min, int64_t max);
ExprRef optional(ExprRef part);
// The parts of a list come in their order; those not required may be left out. After them `rest`
// may come any number of times (nullptr: there is none).
ExprRef list(std::vector<ExprRef> parts, std::vector<bool> required, ExprRef separator,
             ExprRef rest);
ExprRef call(int32_t rule);
ExprRef control_token(int32_t token);
ExprRef automaton(Dfa dfa);

// The minimal automaton where it is small enough to look for it. Errors: the budget.
Result<Dfa> to_dfa(const ExprRef& expr, Budget& budget);

}  // namespace ferry::grammar
