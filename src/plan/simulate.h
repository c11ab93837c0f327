// Simulation: a deployment under requests that arrive one after the other. The engine's own
// scheduler says what each step computes, the speed model how long that takes; so queues, chunked
// prompts, full caches and preemption are those of the engine and not of a formula.
//
// One scheduler stands for the whole deployment, as if its copies shared their pages: what
// uneven copies cost is not in it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "plan/search.h"
#include "plan/workload.h"

namespace ferry::plan {

struct Arrival {
  double at_s = 0;     // ascending
  int64_t input = 0;   // tokens of the prompt, >= 1
  int64_t output = 0;  // and of the answer, >= 1
};

// Lengths and gaps of a preset, with means of `input` and `output` tokens and `rate` requests/s.
// The same seed gives the same arrivals. REQUIRES: count >= 0, the others > 0
std::vector<Arrival> draw_arrivals(const WorkloadPreset& preset, double input, double output,
                                   double rate, int64_t count, uint64_t seed);

// CSV with a header that names arrival_s, input_tokens and output_tokens, in any order and among
// others; times count from the first line. Errors name the line.
Result<std::vector<Arrival>> read_trace(std::string_view csv);

struct SimulationOptions {
  int64_t max_batch = 0;       // sequences that run at once
  int64_t step_tokens = 2048;  // of a step and copy, prompts and answers together
  // Share of each prompt's front that all requests have in common and the prefix cache keeps.
  double cached = 0;
  ServiceLevel slo;
  uint64_t seed = 1;                               // of which drafts are accepted
  std::function<void(int64_t requests)> progress;  // that have ended
};

struct Percentiles {
  double mean = 0, p50 = 0, p90 = 0, p99 = 0, max = 0;
};

struct SimulationResult {
  int64_t requests = 0;  // that were answered
  int64_t too_long = 0;  // that the cache could never hold; they are not in what follows
  double seconds = 0;    // from the first arrival to the last token
  Percentiles ttft_s;    // arrival to first token, the queue included
  Percentiles tpot_s;    // of each request: first to last token, per token after the first
  Percentiles gap_s;     // between two steps that gave a request tokens; within 2 %
  double requests_s = 0;
  double output_tokens_s = 0;
  double goodput_s = 0;  // requests/s of those that kept to the levels; all without levels
  double busy = 0;       // share of the time that a step ran
  double mean_batch = 0;
  int64_t steps = 0;
  int64_t preemptions = 0;
};

// Errors: kInvalidInput if the weights don't fit or max_batch < 1; those of the speed model.
Result<SimulationResult> simulate(const Deployment& deployment, const Efficiency& efficiency,
                                  const MemoryUse& memory, std::span<const Arrival> arrivals,
                                  const SimulationOptions& options);

}  // namespace ferry::plan
