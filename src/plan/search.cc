// See search.h.
#include "plan/search.h"

#include <algorithm>
#include <cmath>

namespace ferry::plan {
namespace {

constexpr int64_t kMaxBatch = 1 << 16;

std::vector<std::string> precisions_for(const Chip& chip, const PlanModel& model) {
  if (model.stored) return {kFilePrecision};
  std::vector<std::string> names;
  if (chip.fp4_tflops && model.num_experts > 0) {
    names.push_back(chip.vendor == "NVIDIA" ? "fp4" : "mxfp4");
  }
  if (chip.fp8_tflops) {
    names.emplace_back(chip.mx_scales_only ? "mxfp8" : "fp8");
  } else if (chip.int8_tops) {
    names.emplace_back("int8");
  }
  names.emplace_back("bf16");
  return names;
}

std::string what_helps(const Option& option) {
  const StepTime& step = option.steady.decode;
  if (option.batch >= option.max_sequences && option.max_sequences > 0) {
    return "more memory (or FP8 cache, more chips): the batch fills it";
  }
  if (step.binds() == "memory") return "more bandwidth, narrower weights, or a larger batch";
  if (step.binds() == "compute") return "more compute or a narrower format";
  if (step.binds() == "network") return "a faster link, or fewer chips per model";
  return "kernels launched as graphs, or more tokens a step (MTP, larger batch)";
}

void add_costs(Option& option, const SearchOptions& options) {
  const Chip& chip = *option.deployment.chip;
  const Steady& s = option.steady;
  // Of one replica, with its part of those that compute prompts.
  const auto chips = static_cast<double>(option.chips()) / static_cast<double>(option.replicas);
  // Of the machine's time, prompts take this share; tokens pay for the time they take.
  const double apart = static_cast<double>(option.prefill_replicas) /
                       static_cast<double>(option.replicas + option.prefill_replicas);
  const double prefill =
      option.prefill_replicas > 0 ? apart : std::min(s.prefill.total() * s.requests_s, 1.0);
  if (const auto hourly = hourly_cost(chip, options.cost)) {
    option.cost_basis = hourly->basis;
    double rate = s.output_tokens_s, incoming = s.input_tokens_s;
    if (options.workload.rate > 0) {  // paid for whether used or not
      const auto replicas = static_cast<double>(option.replicas);
      rate = options.workload.rate * options.workload.output / replicas;
      incoming = options.workload.rate * options.workload.input / replicas;
    }
    const auto per_million = [&](double share, double tokens) {
      const double scale = chips * share / (tokens * 3600) * 1e6;
      // Slower than predicted costs more, faster less.
      return Range{hourly->usd.value * scale, hourly->usd.low * scale / (1 + option.error),
                   hourly->usd.high * scale * (1 + option.error)};
    };
    option.usd_per_million_output = per_million(1 - prefill, rate);
    option.usd_per_million_input = per_million(prefill, incoming);
  }
  if (const auto watts = wall_watts(chip, options.cost)) {
    option.tokens_per_joule = s.output_tokens_s / (*watts * chips);
  }
}

// Deployments that prompts keep busy are given a fifth more than they need, or they queue for ever.
constexpr double kPrefillLoad = 0.8;

// A prompt waits for those before it: half a service at a time, as in a queue of equal services.
double loaded_ttft(const Steady& s, bool disaggregated) {
  const double load = disaggregated ? kPrefillLoad : s.prefill.total() * s.requests_s;
  const double busy = std::min(load, 0.95);
  return s.ttft_s + s.decode.total() + s.prefill.total() * busy / (2 * (1 - busy));
}

bool keeps(const Option& option, const ServiceLevel& slo) {
  return (slo.tpot_s <= 0 || option.steady.tpot_s <= slo.tpot_s) &&
         (slo.ttft_s <= 0 || option.ttft_s <= slo.ttft_s);
}

Result<Option> at_batch(Option option, const SearchOptions& options, int64_t batch) {
  const Workload& w = options.workload;
  option.batch = batch;
  const auto state = options.disaggregated ? separate_state : steady_state;
  FERRY_TRY(option.steady, state(option.deployment, option.efficiency, static_cast<double>(batch),
                                 w.input, w.output, w.cached));
  option.ttft_s = loaded_ttft(option.steady, options.disaggregated);
  return option;
}

double cost_of(const Option& option) {
  return option.usd_per_million_output
             ? option.usd_per_million_output->value + option.usd_per_million_input->value
             : HUGE_VAL;
}

bool better(const Option& a, const Option& b) {
  if (cost_of(a) != cost_of(b)) return cost_of(a) < cost_of(b);
  if (a.tokens_s_per_chip != b.tokens_s_per_chip) return a.tokens_s_per_chip > b.tokens_s_per_chip;
  return a.chips() < b.chips();
}

std::vector<int64_t> powers(int64_t fixed, int64_t max) {
  if (fixed > 0) return {fixed};
  std::vector<int64_t> values;
  for (int64_t value = 1; value <= max; value *= 2) values.push_back(value);
  return values;
}

// Every cut of `chips` over this chip; the better option stays in `best`.
Status try_cuts(const PlanModel& model, const SearchOptions& options, const Deployment& base,
                int64_t chips, const Efficiency& efficiency, std::optional<Option>& best) {
  const int64_t pp = std::max<int64_t>(options.pp, 1);
  if (chips % pp != 0) return {};
  for (int64_t tp : powers(options.tp, std::min(chips, base.chip->node_chips))) {
    if (options.stop && options.stop()) {
      return Error{ErrorKind::kCancelled, "the search was stopped"};
    }
    Deployment d = base;
    d.tp = tp;
    d.pp = pp;
    if ((chips / pp) % tp != 0) continue;
    d.dp = chips / pp / tp;
    d.ep = options.ep > 0 ? options.ep : model.num_experts > 0 && d.dp > 1 ? d.tp * d.dp : 1;
    // Copies of a dense model are replicas, which need no common step.
    if (model.num_experts == 0 && d.dp > 1) continue;
    if (!check_deployment(d).ok()) continue;
    FERRY_TRY(const std::optional<Option> option, best_batch(d, efficiency, options));
    if (option && (!best || better(*option, *best))) best = option;
  }
  return {};
}

double longest_sequence(const Workload& w) {
  return w.longest > 0 ? w.longest : w.input + w.output;
}

// One chip, with what goes for all cuts of it.
Result<Deployment> one_chip(const PlanModel& model, const SearchOptions& options, const Chip& chip,
                            const std::string& precision) {
  Deployment base{.chip = &chip, .model = &model};
  FERRY_TRY(base.precision, precision_for(model, precision, options.kv));
  base.mtp = options.mtp;
  base.accepted = options.accepted;
  base.stack = options.stack;
  return base;
}

Result<std::optional<Option>> best_of_chip(const PlanModel& model, const SearchOptions& options,
                                           const Deployment& base, const Efficiency& efficiency) {
  std::optional<Option> best;
  for (int64_t chips : powers(options.chips_exactly, options.max_chips)) {
    FERRY_TRY_VOID(try_cuts(model, options, base, chips, efficiency, best));
  }
  return best;
}

}  // namespace

Result<std::optional<Option>> best_batch(const Deployment& deployment, const Efficiency& efficiency,
                                         const SearchOptions& options) {
  Option option{.deployment = deployment, .efficiency = efficiency, .error = efficiency.error};
  FERRY_TRY(option.memory, memory_of(deployment));
  const Workload& w = options.workload;
  if (option.memory.max_sequences(longest_sequence(w), 1) < 1) return std::optional<Option>();
  option.max_sequences = option.memory.max_sequences(w.input + w.output, deployment.dp);
  const int64_t most = std::min(option.max_sequences, kMaxBatch);
  if (options.batch > most) return std::optional<Option>();
  // The time between tokens only grows with the batch: bisect for the largest that keeps to it.
  int64_t low = options.batch > 0 ? options.batch : 1;
  int64_t high = options.batch > 0 ? options.batch : most;
  FERRY_TRY(Option best, at_batch(option, options, low));
  if (!keeps(best, options.slo)) return std::optional<Option>();
  while (low < high) {
    const int64_t middle = high - (high - low) / 2;
    FERRY_TRY(const Option trial, at_batch(option, options, middle));
    if (keeps(trial, options.slo)) {
      low = middle;
      best = trial;
    } else {
      high = middle - 1;
    }
  }
  if (w.rate > 0) {
    best.replicas = static_cast<int64_t>(std::ceil(w.rate / best.steady.requests_s));
  }
  if (options.disaggregated) {
    const auto replicas = static_cast<double>(best.replicas);
    const double rate = w.rate > 0 ? w.rate : best.steady.requests_s * replicas;
    best.prefill_replicas =
        static_cast<int64_t>(std::ceil(rate * best.steady.prefill.total() / kPrefillLoad));
  }
  if ((w.rate > 0 || options.disaggregated) && best.chips() > options.max_chips) {
    return std::optional<Option>();
  }
  best.tokens_s_per_chip = best.steady.output_tokens_s * static_cast<double>(best.replicas) /
                           static_cast<double>(best.chips());
  best.binds = best.steady.decode.binds();
  best.helps = what_helps(best);
  add_costs(best, options);
  return std::optional<Option>(best);
}

Result<SearchResult> search(const PlanModel& model, const SearchOptions& options) {
  FERRY_TRY(const EfficiencyTable table, builtin_efficiency());
  SearchResult result;
  for (const Chip* chip : options.chips) {
    const std::vector<std::string> precisions =
        options.precisions.empty() ? precisions_for(*chip, model) : options.precisions;
    std::string why = "no cut of up to " + std::to_string(options.max_chips) +
                      " chips fits and keeps to the levels";
    bool any = false;
    const Efficiency& efficiency = table.of(*chip, options.stack);
    for (const std::string& precision : precisions) {
      FERRY_TRY(const Deployment base, one_chip(model, options, *chip, precision));
      const auto larger = hot_set(base, efficiency, longest_sequence(options.workload));
      if (larger.ok() && *larger) result.larger_than_memory.push_back(**larger);
      const auto best = best_of_chip(model, options, base, efficiency);
      if (!best.ok()) {
        if (best.error().kind != ErrorKind::kUnsupported) return best.error();
        why = best.error().message;
      } else if (*best) {
        result.options.push_back(**best);
        any = true;
      }
    }
    if (!any) result.rejected.push_back(chip->name + ": " + why);
  }
  std::stable_sort(result.options.begin(), result.options.end(), better);
  return result;
}

}  // namespace ferry::plan
