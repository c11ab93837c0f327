// Generation: one request at work. It owns what only this request has — its tokens, sampler, text
// and clock — and turns the logits of one position into one more token, or the end.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/answer_constraint.h"
#include "engine/drafter.h"
#include "engine/kv_pages.h"
#include "engine/stream_state.h"
#include "sample/sampler.h"

namespace ferry::engine {

// Tokens → text, with stop strings. Implemented over the tokenizer in engine/output_text.h.
class OutputText {
 public:
  struct Piece {
    std::string text;
    std::string reasoning;
    std::vector<ToolCallPiece> tool_calls;
  };
  virtual ~OutputText() = default;
  // `look_for_stops`: min_tokens is reached.
  virtual Piece push(int32_t token, bool look_for_stops) = 0;
  // What was held back; the text has ended.
  virtual Piece finish() = 0;
  // The stop string that was met; empty: none so far.
  virtual const std::string& stop_string() const = 0;
  // The tokens pushed so far are still thoughts, not the answer.
  virtual bool reasoning() const = 0;
  // Calls of tools that have begun so far.
  virtual int64_t num_tool_calls() const { return 0; }
  // The only call of a tool that was wanted is whole: the answer ends here.
  virtual bool complete() const { return false; }
};

struct GenerationInput {
  std::vector<int32_t> prompt;
  SamplingParams sampling;  // validated
  StopConditions stop;      // validated
  uint64_t seed = 0;
  std::vector<int32_t> eos_token_ids;
  int64_t vocab_size = 0;   // ids the tokenizer knows
  int64_t max_context = 0;  // prompt.size() < max_context
  std::unique_ptr<OutputText> text;
  grammar::GrammarRef grammar;   // nullptr: any answer will do
  std::optional<Pooling> embed;  // then prompt.size() <= max_context
  int priority = 0;
  std::vector<BlockKey> block_keys;  // of the prompt; empty: nothing is shared
  Drafting drafting;
};

class Generation {
 public:
  using Clock = std::chrono::steady_clock;

  Generation(GenerationInput input, std::shared_ptr<Doorbell> doorbell);

  const std::shared_ptr<StreamState>& stream() const { return stream_; }
  std::span<const int32_t> tokens() const { return tokens_; }
  int64_t num_prompt_tokens() const { return num_prompt_tokens_; }
  // Prompt and output together never exceed this.
  int64_t max_tokens() const { return max_tokens_; }

  // What holds the answer; nullptr: nothing does.
  AnswerConstraint* constraint() { return constraint_.has_value() ? &*constraint_ : nullptr; }

  int priority() const { return priority_; }
  std::vector<BlockKey> take_block_keys() { return std::move(block_keys_); }

  // A chunk that begins at this position is about to run.
  void computing(int64_t begin);
  struct Progress {
    int64_t num_tokens = 0;  // chosen
    int64_t num_right = 0;   // guesses that turned out right
    bool ended = false;
  };
  // How many of the largest logits of each row the next advance() looks at; sample::kAllLogits: at
  // all. The request alone says, not its company.
  int64_t num_deciding_logits() const;
  // Chooses the next tokens and publishes them. `logits`: behind the last token, and behind each of
  // the first guesses of drafter(). Each row is sampled as if there were no guesses, the next one
  // only where the token was guessed: so the answer is the same, whatever holds it (constraint,
  // penalties, stop strings, seed).
  Progress advance(std::span<const sample::LogitRow> logits);
  Drafter& drafter() { return drafter_; }

  bool embeds() const { return embed_.has_value(); }
  // What advance() is to an answer: the state of the tokens from `begin` on, [n, hidden_size].
  // True: they were the last, and the vector is out. REQUIRES: embeds()
  bool pool(int64_t begin, std::span<const float> hidden, size_t hidden_size);

  // Ends it from outside.
  void cancel() { end(FinishReason::kCancelled, {}); }
  void fail(const Error& error);

 private:
  // True: the request has ended with it. `guess`: counts as accepted if it is chosen.
  bool choose_and_publish(const sample::LogitRow& logits, int32_t guess);
  Result<sample::Choice> choose(const sample::LogitRow& logits, int64_t num_before);
  // Ids that can't be chosen behind so many tokens of the answer.
  std::span<const int32_t> forbidden(int64_t num_before) const;
  void end(FinishReason reason, StreamEvent event);

  std::shared_ptr<StreamState> stream_;
  std::vector<int32_t> tokens_;
  int64_t num_prompt_tokens_;
  int64_t max_tokens_;
  int64_t min_output_tokens_;
  std::vector<int32_t> stop_ids_;
  sample::Sampler sampler_;
  std::optional<AnswerConstraint> constraint_;
  std::unique_ptr<OutputText> text_;
  std::optional<Pooling> embed_;
  std::vector<double> pooled_;
  int priority_;
  std::vector<BlockKey> block_keys_;
  int64_t num_cached_tokens_ = 0;
  int64_t num_reasoning_tokens_ = 0;
  Drafter drafter_;
  int64_t num_draft_tokens_ = 0;
  int64_t num_accepted_tokens_ = 0;
  Clock::time_point submitted_ = Clock::now();
  Clock::time_point started_{};
  Clock::time_point first_token_{};
  Clock::time_point last_token_{};
};

}  // namespace ferry::engine
