// `ferry bench --speculate`: what guessing tokens brings. Whole answers to real prompts, with and
// without guesses by turns of the same engine settings: how many guesses were right, how many
// tokens a step yields, and how fast the answers came.
//
// Guesses are only as good as the text is predictable, so random tokens would say nothing: prompts
// are given, or some of its own, in the model's chat format where it has one; answers are greedy.
// Weights that `ferry synth` made up answer nonsense, which the report says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "ferry/ferry.h"

namespace ferry::cmd {

struct SpeculationBench {
  EngineOptions engine;      // with the speculation that is to be measured
  std::string how;           // its name
  std::string prompts_file;  // one prompt a line; empty: prompts of its own
  std::vector<int64_t> batches;
  int64_t generate = 0;  // tokens of an answer at most
  int64_t repeat = 0;    // rounds that count
};

// All answers to all prompts, `batch` of them at a time.
struct AnswerRound {
  double seconds = 0;  // from the first prompt to the last token
  int64_t tokens = 0;
  int64_t drafted = 0, accepted = 0;
  int64_t decode_tokens = 0;  // behind the first token of each answer
  double decode_seconds = 0;  // summed over the answers
  std::vector<std::vector<int32_t>> answers;

  double tokens_per_s() const;     // of the whole batch, prompts included
  double sequence_per_s() const;   // of one sequence, behind its first token
  double tokens_per_step() const;  // of one sequence: 1 without guesses
  double acceptance_rate() const;  // of the guesses; 0 without any
};

struct SpeculationPoint {
  int64_t batch = 0;
  std::vector<AnswerRound> off, on;  // the rounds that count; at least one of each
};

struct SpeculationResult {
  std::string model, architecture, backend, how;
  bool random_weights = false;
  std::string prompts;  // which, in words
  int64_t num_prompts = 0, generate = 0;
  std::vector<SpeculationPoint> points;
};

// Errors: those of loading (a model without a prediction module among them), of reading the
// prompts, or of an answer.
Result<SpeculationResult> measure_speculation(const SpeculationBench& bench);

// Rates as medians of the rounds with the smallest and largest; "same_tokens": whether every answer
// had the tokens that it has without guesses, in every round.
Json speculation_json(const SpeculationResult& result);
void print_speculation(const SpeculationResult& result);

}  // namespace ferry::cmd
