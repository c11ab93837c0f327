// Search: every way to cut a model over every chip asked for, the largest batch that keeps to the
// service levels, and what it costs; ranked.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "plan/hot_set.h"
#include "plan/speed.h"

namespace ferry::plan {

struct CostOptions {
  double years = 4;            // over which a bought chip is paid off
  double server_factor = 1.4;  // server and network per price of the chip
  double usd_per_kwh = 0.10;
  double pue = 1.3;          // of the building
  double host_power = 1.3;   // power of the server per power of the chip
  double utilisation = 1.0;  // share of the hours that are paid and used
};

struct Range {
  double value = 0, low = 0, high = 0;
};
// Per chip and hour; nullopt where neither rental nor price is known. `basis` says which.
struct HourlyCost {
  Range usd;
  std::string basis;
};
std::optional<HourlyCost> hourly_cost(const Chip& chip, const CostOptions& options);
// Watts at the wall per chip; nullopt if the chip's power is not known.
std::optional<double> wall_watts(const Chip& chip, const CostOptions& options);

struct Workload {
  double input = 1155;  // mean tokens of a prompt
  double output = 211;  // and of an answer
  double cached = 0;    // share of prompts that a prefix cache has
  double longest = 0;   // tokens of the longest sequence that must fit; 0: input + output
  double rate = 0;      // requests/s to serve; 0: as many as one deployment takes
};

struct ServiceLevel {
  double tpot_s = 0;  // 0: none
  double ttft_s = 0;
};

struct SearchOptions {
  std::vector<const Chip*> chips;
  std::vector<std::string> precisions;  // empty: what suits each chip
  std::string kv = "bf16";
  Workload workload;
  ServiceLevel slo;
  CostOptions cost;
  int64_t max_chips = 64;
  int64_t chips_exactly = 0;                  // 0: any number
  int64_t tp = 0, ep = 0, pp = 0, batch = 0;  // 0: searched (pp: 1)
  int64_t mtp = 0;
  double accepted = 0;
  std::string stack = "tuned";
  bool disaggregated = false;  // prompts are computed by deployments of their own
  double disk_gbs = 0;         // that experts are read from, where they don't fit; 0: unknown
  // Asked often, on the thread that searches: true ends the search with kCancelled. May be empty.
  std::function<bool()> stop;
};

struct Option {
  Deployment deployment;
  MemoryUse memory;
  Efficiency efficiency;
  Steady steady;
  int64_t batch = 0;          // sequences at once in one replica
  int64_t max_sequences = 0;  // that the memory would hold
  int64_t replicas = 1;
  int64_t prefill_replicas = 0;  // that compute prompts for them; 0: they do it themselves
  double tokens_s_per_chip = 0;  // generated
  double ttft_s = 0;             // at this load, waiting for other prompts included
  std::optional<Range> usd_per_million_output;
  std::optional<Range> usd_per_million_input;  // by the share of time that prompts take
  std::optional<double> tokens_per_joule;
  std::string cost_basis;
  std::string binds;
  std::string helps;
  double error = 0;  // relative error bar of the speeds

  int64_t chips() const { return deployment.chips() * (replicas + prefill_replicas); }
};

struct SearchResult {
  std::vector<Option> options;        // best first
  std::vector<std::string> rejected;  // one line per chip that has no option, and why
  // One of each chip and precision whose weights are more than its memory, and that can read
  // experts when they are needed.
  std::vector<HotSet> larger_than_memory;
};

// The best option of every chip and precision, by cost per token where known, then by tokens per
// second and chip.
Result<SearchResult> search(const PlanModel& model, const SearchOptions& options);

// The largest batch of one deployment that keeps to the levels; nullopt if none does.
Result<std::optional<Option>> best_batch(const Deployment& deployment, const Efficiency& efficiency,
                                         const SearchOptions& options);

}  // namespace ferry::plan
