// The speed model: a roofline per kind of operation, with a few parameters per class of chip that
// are calibrated once on published measurements (plan/calibrate.h) and kept in
// data/plan/efficiency.json.
//
//   time of a pass = local + all-reduces / (link · network) + layers · (overhead + collectives)
//                    + max(0, exchange / (link · network) − local) + pass
//   local = Σ over {dense weights, experts, attention, head} of
//             operations / (peak · compute) + bytes / (bandwidth · memory)
//
// Experts: of E experts, a step of T tokens that each choose k reads E·(1 − (1 − k/E)^T) of them.
// Where they lie on different chips, the busiest of these counts. The exchange of tokens between
// chips runs beside the arithmetic of the other half of a batch, all-reduces do not. Copies of the
// dense weights go in step: where prompts join answers, the copy with the most of them counts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "plan/deployment.h"

namespace ferry::plan {

// The parameters of one chip or class of chips; all positive.
struct Efficiency {
  std::string name;       // "H20 96GB/tuned", "nvidia/tuned", "gpu/tuned", "all/tuned"
  double prefill = 0.45;  // of peak compute in long steps
  double decode = 0.3;    // of peak compute in steps of generated tokens
  double memory = 0.65;   // of peak bandwidth
  double network = 0.6;   // of link bandwidth, overlap with compute included
  double layer_us = 40;   // per layer and pass; of CPUs, per 64 cores that wait for each other
  double pass_us = 2000;  // per pass: launch, sampling, host
  double error = 0.5;     // median |predicted / measured − 1|, the error bar of a plan
};

struct EfficiencyTable {
  std::vector<Efficiency> classes;
  // Of the chip; of its class, its kind, then of all, if it was never measured.
  const Efficiency& of(const Chip& chip, std::string_view stack) const;
};

std::string class_of(const Chip& chip, std::string_view stack);
Result<EfficiencyTable> read_efficiency(std::string_view text);
Result<EfficiencyTable> builtin_efficiency();
Json efficiency_to_json(const EfficiencyTable& table);

// Seconds, of the slowest chip.
struct StepTime {
  double compute = 0;  // where arithmetic binds
  double memory = 0;   // where bandwidth binds
  double network = 0;
  double overhead = 0;
  double total() const { return compute + memory + network + overhead; }
  // "memory", "compute", "network" or "overhead": the largest part.
  std::string_view binds() const;
};

// One step of `batch` sequences over the whole deployment, each with `context` tokens in the cache.
// With MTP, a step checks mtp + 1 tokens per sequence and yields accepted + 1.
// kUnsupported if the chip's bandwidth or peak is unknown.
Result<StepTime> decode_step(const Deployment& deployment, const Efficiency& efficiency,
                             double batch, double context);

// One step that computes `tokens` prompt tokens over the whole deployment, of prompts of length
// `prompt`; the first `cached` share of each prompt is in the cache already. `uneven`: the tokens
// of the busiest copy over the mean.
Result<StepTime> prefill_step(const Deployment& deployment, const Efficiency& efficiency,
                              double tokens, double prompt, double cached = 0, double uneven = 1);

// That of `prompts` that fall on `copies` at random.
double busiest_copy(double prompts, double copies);

// T operations/s for this kind of arithmetic; falls to the next wider kind the chip has. Error:
// kUnsupported if no peak is known.
Result<double> peak_ops(const Chip& chip, Compute compute);

// A steady state: `batch` sequences at once, prompts of `input` tokens, answers of `output`.
struct Steady {
  StepTime decode;             // one step
  StepTime prefill;            // of one prompt
  double tpot_s = 0;           // between two tokens, prefill of others included
  double ttft_s = 0;           // without queueing
  double output_tokens_s = 0;  // of the deployment
  double input_tokens_s = 0;   // that come in, cached ones included
  double requests_s = 0;
};
Result<Steady> steady_state(const Deployment& deployment, const Efficiency& efficiency,
                            double batch, double input, double output, double cached = 0);

// The same with prompts computed by other deployments of the same cut, which send the cache over:
// no prompt stands between two tokens, and the time to the first token has the way of its cache.
Result<Steady> separate_state(const Deployment& deployment, const Efficiency& efficiency,
                              double batch, double input, double output, double cached = 0);

}  // namespace ferry::plan
