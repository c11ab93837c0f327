// `ferry plan simulate`: the deployments that the planner would choose, under requests that arrive
// one by one, with the engine's own scheduler.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "cmd/plan_json.h"
#include "cmd/plan_parts.h"
#include "cmd/progress.h"
#include "cmd/read_input.h"
#include "plan/rules.h"
#include "plan/simulate.h"

namespace ferry::cmd {
namespace {

// Of what one deployment could take in the long run, where no rate is asked for.
constexpr double kDefaultLoad = 0.8;

struct SimulateFlags {
  PlanFlags plan;
  std::string trace;
  int64_t requests = 2000;
  int64_t step_tokens = 2048;
  uint64_t seed = 1;
};

struct Simulated {
  plan::Option option;
  double rate = 0;  // of all replicas
  plan::SimulationResult result;
};

Json percentiles_json(const plan::Percentiles& p) {
  return {{"mean", p.mean}, {"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}, {"max", p.max}};
}

Json simulated_json(const Simulated& s) {
  Json json = option_json(s.option);
  const plan::SimulationResult& r = s.result;
  json["simulation"] = {{"rate", s.rate},
                        {"requests", r.requests},
                        {"too_long", r.too_long},
                        {"seconds", r.seconds},
                        {"ttft_s", percentiles_json(r.ttft_s)},
                        {"tpot_s", percentiles_json(r.tpot_s)},
                        {"gap_s", percentiles_json(r.gap_s)},
                        {"requests_s", r.requests_s},
                        {"output_tokens_s", r.output_tokens_s},
                        {"goodput_s", r.goodput_s},
                        {"busy", r.busy},
                        {"mean_batch", r.mean_batch},
                        {"steps", r.steps},
                        {"preemptions", r.preemptions}};
  return json;
}

std::string three(const plan::Percentiles& p) {
  return duration_text(p.p50) + " / " + duration_text(p.p90) + " / " + duration_text(p.p99);
}

std::vector<std::string> table_cells(const Simulated& s, bool has_levels) {
  const plan::Option& o = s.option;
  const plan::SimulationResult& r = s.result;
  const double share = r.requests_s > 0 ? r.goodput_s / r.requests_s : 0;
  return {o.deployment.chip->name,
          std::to_string(o.chips()),
          split_text(o.deployment) + (o.replicas > 1 ? fmt::format(" ×{}", o.replicas) : ""),
          o.deployment.precision.name,
          std::to_string(o.batch),
          short_number(s.rate),
          three(r.ttft_s),
          three(r.tpot_s),
          duration_text(r.gap_s.p99),
          short_number(r.output_tokens_s / static_cast<double>(o.deployment.chips())),
          has_levels ? fmt::format("{:.0f} %", share * 100) : "–",
          fmt::format("{:.0f} %", r.busy * 100),
          short_number(r.mean_batch),
          std::to_string(r.preemptions),
          fmt::format("±{:.0f} %", o.error * 100)};
}

const std::vector<std::string> kSimulationHeader = {
    "chip", "chips",   "split",      "weights", "batch", "req/s",      "TTFT p50 / p90 / p99",
    "TPOT", "gap p99", "tok/s/chip", "in SLO",  "busy",  "mean batch", "preempted",
    "error"};

Result<Simulated> simulate_option(const plan::Option& option, const SimulateFlags& flags,
                                  const plan::SearchOptions& options,
                                  const plan::WorkloadPreset& preset,
                                  std::vector<plan::Arrival> arrivals) {
  Simulated simulated{.option = option};
  const auto replicas = static_cast<double>(option.replicas);
  if (arrivals.empty()) {
    const double rate = options.workload.rate > 0 ? options.workload.rate / replicas
                                                  : kDefaultLoad * option.steady.requests_s;
    arrivals = plan::draw_arrivals(preset, options.workload.input, options.workload.output, rate,
                                   flags.requests, flags.seed);
    simulated.rate = rate * replicas;
  } else if (arrivals.back().at_s > 0) {
    simulated.rate = static_cast<double>(arrivals.size()) / arrivals.back().at_s;
  }
  Progress progress("simulating " + option.deployment.chip->name, " requests");
  const auto count = std::ssize(arrivals);
  const plan::SimulationOptions simulation{
      .max_batch = option.batch,
      .step_tokens = flags.step_tokens,
      .cached = options.workload.cached,
      .slo = options.slo,
      .seed = flags.seed,
      .progress = [&progress, count](int64_t done) { progress.update(done, count); }};
  auto result =
      plan::simulate(option.deployment, option.efficiency, option.memory, arrivals, simulation);
  if (!result.ok()) return result.error().in(option.deployment.chip->name);
  simulated.result = std::move(*result);
  return simulated;
}

// Best of each chip first; a trace goes to one deployment, so replicas don't share it.
Result<std::vector<plan::Option>> choose_options(const SimulateFlags& flags,
                                                 const plan::PlanModel& model,
                                                 plan::SearchOptions& options) {
  FERRY_TRY(plan::SearchResult found, find_options(model, options, flags.plan));
  std::vector<plan::Option>& best = found.options;
  if (!flags.trace.empty()) {
    for (plan::Option& option : best) option.replicas = 1;
  }
  for (const std::string& line : found.rejected) std::fprintf(stderr, "%s\n", line.c_str());
  return std::move(best);
}

Result<int> run_simulate(const SimulateFlags& flags) {
  FERRY_TRY(const plan::Catalogue catalogue, open_catalogue(flags.plan));
  FERRY_TRY(const plan::PlanModel model, open_plan_model(flags.plan.model));
  FERRY_TRY(plan::SearchOptions options, search_options(flags.plan));
  if (options.disaggregated) return invalid_input("--disaggregated: is planned, not simulated");
  FERRY_TRY(options.chips, choose_chips(catalogue, flags.plan.chips));
  FERRY_TRY(const plan::WorkloadPreset preset, plan::find_workload(flags.plan.workload));
  std::vector<plan::Arrival> trace;
  if (!flags.trace.empty()) {
    FERRY_TRY(const std::string text, read_input(flags.trace));
    auto read = plan::read_trace(text);
    if (!read.ok()) return read.error().in(flags.trace);
    trace = std::move(*read);
  }
  FERRY_TRY(const std::vector<plan::Option> best, choose_options(flags, model, options));
  std::vector<std::vector<std::string>> rows;
  Json out = Json::array();
  for (const plan::Option& option : best) {
    FERRY_TRY(const Simulated simulated, simulate_option(option, flags, options, preset, trace));
    rows.push_back(table_cells(simulated, options.slo.tpot_s > 0 || options.slo.ttft_s > 0));
    out.push_back(simulated_json(simulated));
  }
  if (flags.plan.json) {
    print_json({{"model", model.name}, {"options", out}, {"note", plan::kNoLegalAdvice}});
    return best.empty() ? 1 : 0;
  }
  print_table(kSimulationHeader, rows, flags.plan.csv);
  if (!flags.plan.csv) {
    std::printf(
        "\nPercentiles over requests; gap: between two steps that gave a request tokens. Step "
        "times are\npredictions with the error shown, the order of work is that of the engine's "
        "scheduler.\n");
  }
  return best.empty() ? 1 : 0;
}

}  // namespace

void add_plan_simulate(CLI::App& plan, Action& action) {
  CLI::App* command = plan.add_subcommand(
      "simulate", "Requests one by one through the engine's scheduler at predicted speeds");
  command->footer(
      "One deployment is simulated for each chip: what ferry plan would choose for it. Without\n"
      "--rate it gets 80 % of the requests it could take in the long run.\n\nExamples:\n"
      "  ferry plan simulate deepseek-v3 --chips H800,910C --count 32 --rate 20\n"
      "  ferry plan simulate qwen3-32b --chips A100 --trace arrivals.csv --slo ttft=2s,tpot=50ms");
  auto flags = std::make_shared<SimulateFlags>();
  flags->plan.top = 5;
  flags->plan.compare = true;
  command->add_option("model", flags->plan.model, "A public model by name or one on disk")
      ->type_name("MODEL")
      ->required();
  command->add_option("--requests", flags->requests, "How many arrive")
      ->check(CLI::Range(int64_t{1}, int64_t{10'000'000}));
  command
      ->add_option("--trace", flags->trace,
                   "Arrivals instead: CSV with arrival_s, input_tokens, output_tokens")
      ->type_name("FILE");
  command->add_option("--step-tokens", flags->step_tokens, "Tokens of a step and copy at most")
      ->check(CLI::Range(int64_t{16}, int64_t{1} << 20));
  command->add_option("--seed", flags->seed, "Of arrivals and accepted drafts");
  command->add_option("--top", flags->plan.top, "Chips to simulate, the best first")
      ->check(CLI::Range(int64_t{1}, int64_t{1000}));
  add_plan_flags(*command, flags->plan);
  add_output_flags(*command, flags->plan);
  command->callback([&action, flags] {
    action = [flags] {
      const Result<int> code = run_simulate(*flags);
      return code.ok() ? *code : fail(code.error());
    };
  });
}

}  // namespace ferry::cmd
