// What holds an answer to its constraint: grammars compiled for the model's vocabulary, and the
// place of one answer in its grammar.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "ferry/ferry.h"
#include "grammar/compile.h"
#include "text/tokenizer.h"
#include "text/tool_format.h"

namespace ferry::engine {

grammar::ConstraintText constraint_text(const Constraint& constraint);

// Calls of `tools` (OpenAI's) in the markup of `format`. nullopt: whether and how the model calls
// is left to it, which is so where nothing is required, no tool is strict and the text is not
// `held` by a constraint. Errors: a choice that can't be kept to, by field.
Result<std::optional<grammar::ToolCallText>> call_constraint(std::optional<text::ToolFormat> format,
                                                             const Json& tools,
                                                             const ToolChoice& choice,
                                                             bool parallel, bool held);

// What a chat model thinks first is free: where the prompt `rendered` opened the thoughts already,
// or where the model may open them by itself.
void allow_thoughts(bool opened, std::string_view rendered, const text::Tokenizer& tokenizer,
                    grammar::ConstraintText& constraint);

// Grammars of one model. Thread-safe. The vocabulary is sorted on first use: most engines never see
// a constraint.
class ConstraintCompiler {
 public:
  ConstraintCompiler(text::Tokenizer tokenizer, int64_t vocab_size,
                     std::vector<int32_t> eos_token_ids)
      : tokenizer_(std::move(tokenizer)),
        vocab_size_(vocab_size),
        eos_token_ids_(std::move(eos_token_ids)) {}

  // Errors: what the constraint has wrong or takes too much of, by field and keyword.
  Result<grammar::GrammarRef> compile(const grammar::ConstraintText& constraint);

 private:
  const text::Tokenizer tokenizer_;
  const int64_t vocab_size_;
  const std::vector<int32_t> eos_token_ids_;
  std::once_flag once_;
  std::unique_ptr<grammar::Compiler> compiler_;
};

// One answer under way. One thread at a time.
class AnswerConstraint {
 public:
  explicit AnswerConstraint(grammar::GrammarRef grammar);

  // Finds what may come next, unless that is known already.
  void prepare();
  // A bit per id, as Sampler::sample() takes them. REQUIRES: prepare()
  std::span<const uint32_t> allowed() const { return mask_; }
  // Nothing but the end of the text can come, or nothing at all. REQUIRES: prepare()
  bool only_end() const { return num_others_ == 0; }
  // The text is complete and no token says so: the vocabulary has none that ends texts, or none
  // that is allowed. REQUIRES: prepare()
  bool ends_silently() const { return num_allowed_ == 0 && matcher_.can_end(); }

  // REQUIRES: `token` is allowed
  void accept(int32_t token);
  bool ended() const { return matcher_.ended(); }

 private:
  grammar::Matcher matcher_;
  std::vector<uint32_t> mask_;
  int64_t num_allowed_ = 0;
  int64_t num_others_ = 0;  // of these, that do not end the text
  bool prepared_ = false;
};

}  // namespace ferry::engine
