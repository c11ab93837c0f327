// `ferry plan MODEL`: which chips, how many and how cut serve a model at a service level, what it
// costs and why; `ferry plan compare` puts chips side by side on one workload.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>

#include "cmd/plan_json.h"
#include "cmd/plan_parts.h"
#include "plan/rules.h"
#include "server/api/api_error.h"
#include "server/page.h"

namespace ferry::cmd {
namespace {

std::vector<std::string> cells(const plan::Option& o) {
  return {o.deployment.chip->name,
          std::to_string(o.chips()),
          split_text(o.deployment) +
              (o.replicas > 1 ? " ×" + std::to_string(o.replicas) : std::string()) +
              (o.prefill_replicas > 0 ? fmt::format(" + {} for prompts", o.prefill_replicas) : ""),
          o.deployment.precision.name,
          std::to_string(o.batch),
          short_number(o.tokens_s_per_chip),
          fmt::format("±{:.0f} %", o.error * 100),
          facts_level(*o.deployment.chip),
          duration_text(o.steady.tpot_s),
          duration_text(o.ttft_s),
          range_text(o.usd_per_million_output),
          range_text(o.usd_per_million_input),
          o.tokens_per_joule ? short_number(*o.tokens_per_joule) : "unknown",
          o.binds};
}

const std::vector<std::string> kHeader = {"chip",       "chips",  "split", "weights", "batch",
                                          "tok/s/chip", "error",  "facts", "TPOT",    "TTFT",
                                          "$/M out",    "$/M in", "tok/J", "binds"};

void print_notes(const std::vector<plan::Option>& options,
                 const std::vector<std::string>& rejected) {
  if (!options.empty()) {
    const plan::Option& best = options.front();
    const plan::Chip& chip = *best.deployment.chip;
    const std::string level = facts_level(chip);
    if (level != "high" && level != "medium") {
      std::printf("\nCaution: what is known of %s is uncertain: %s.\n", chip.name.c_str(),
                  chip.confidence.c_str());
    }
    std::printf("\nFirst: %s binds. What would help: %s.\n", best.binds.c_str(),
                best.helps.c_str());
    std::printf(
        "Memory of a chip: %s weights, %s scratch and reserve, %s free for %lld sequences.\n",
        format_bytes(static_cast<int64_t>(best.memory.weights())).c_str(),
        format_bytes(static_cast<int64_t>(best.memory.workspace + best.memory.reserve)).c_str(),
        format_bytes(static_cast<int64_t>(best.memory.free_for_kv())).c_str(),
        static_cast<long long>(best.max_sequences));
  }
  if (!rejected.empty()) std::printf("\nWithout an option\n");
  for (const std::string& line : rejected) std::printf("  %s\n", line.c_str());
  std::printf(
      "\ntok/s are generated tokens; error: of the speed model; facts: confidence in what is known "
      "of the chip,\nits sources in ferry plan chips CHIP; costs: value (range of prices and of "
      "the "
      "model's error).\n"
      "Export rules are not considered here: see ferry plan rules. %s\n",
      std::string(plan::kNoLegalAdvice).c_str());
}

// What one machine does whose memory the weights exceed.
void print_larger(const std::vector<plan::HotSet>& sets, double disk_gbs) {
  if (sets.empty()) return;
  std::printf(
      "\nLarger than one machine's memory: experts stay in the file, those used last in memory "
      "(ferry serve --expert-memory)\n");
  const auto bytes = [](double value) { return format_bytes(static_cast<int64_t>(value)); };
  const auto known = [](const std::optional<double>& value) {
    return value ? short_number(*value) : "unknown";
  };
  std::vector<std::vector<std::string>> rows;
  for (const plan::HotSet& set : sets) {
    rows.push_back({set.deployment.chip->name, set.deployment.precision.name,
                    bytes(set.weight_bytes), bytes(set.stay_bytes), bytes(set.kept_bytes),
                    fmt::format("{:.0f} %", 100 * set.share()), bytes(set.read_bytes()),
                    known(set.computed_tokens_s), short_number(set.disk_tokens_s(1e9)),
                    known(set.tokens_s(disk_gbs * 1e9))});
  }
  print_table({"chip", "weights", "file", "always in memory", "experts in memory", "of all",
               "read/token", "tok/s computed", "tok/s per GB/s of disk", "tok/s at most"},
              rows, false);
  std::printf("Assumed: %s.%s\n", plan::kHotSetAssumption,
              disk_gbs > 0 ? "" : " What the disk reads is not known: --disk-gbs.");
}

Status write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) return io_error("{}: can't be written", path);
  return {};
}

Result<int> run_plan(const PlanFlags& flags) {
  FERRY_TRY(const plan::Catalogue catalogue, open_catalogue(flags));
  FERRY_TRY(const plan::PlanModel model, open_plan_model(flags.model));
  FERRY_TRY(plan::SearchOptions options, search_options(flags));
  FERRY_TRY(options.chips, choose_chips(catalogue, flags.chips));
  FERRY_TRY(const std::string as_of, rules_day(flags));
  FERRY_TRY(const plan::SearchResult result, find_options(model, options, flags));
  if (!flags.html.empty()) {
    const Json plan = plan_json(model, options, result, as_of);
    FERRY_TRY_VOID(write_text(flags.html, server::plan_report(server::api::dump(plan))));
  }
  if (flags.json) {
    print_json(plan_json(model, options, result, as_of));
    return result.options.empty() ? 1 : 0;
  }
  if (!flags.csv) {
    std::printf("%s: %.0f tokens in (%.0f %% cached), %.0f out%s\n\n", model.name.c_str(),
                options.workload.input, options.workload.cached * 100, options.workload.output,
                flags.rate > 0 ? fmt::format(", {} requests/s", flags.rate).c_str() : "");
  }
  std::vector<std::vector<std::string>> rows;
  for (const plan::Option& option : result.options) rows.push_back(cells(option));
  print_table(kHeader, rows, flags.csv);
  if (!flags.csv) {
    print_larger(result.larger_than_memory, options.disk_gbs);
    print_notes(result.options, result.rejected);
  }
  return result.options.empty() ? 1 : 0;
}

void add_command(CLI::App& command, Action& action, bool compare) {
  auto flags = std::make_shared<PlanFlags>();
  flags->compare = compare;
  CLI::Option* model = command.add_option(
      "model", flags->model, "A public model by name (deepseek-v3, qwen3-32b, …) or one on disk");
  model->type_name("MODEL");
  if (compare) model->required();
  add_search_flags(command, *flags);
  add_output_flags(command, *flags);
  command.add_option("--html", flags->html, "Write a page with plots")->type_name("FILE");
  auto here = std::make_shared<HereFlags>();
  if (!compare) add_calibrate_here(command, *here);
  command.callback([&command, &action, flags, here] {
    if (!command.get_subcommands().empty()) return;
    action = [flags, here] {
      if (here->wanted) return calibrate_here(*here);
      if (flags->model.empty()) {
        return fail(invalid_input("plan: which model? For example: ferry plan deepseek-v3"));
      }
      const Result<int> code = run_plan(*flags);
      return code.ok() ? *code : fail(code.error());
    };
  });
}

}  // namespace

void add_plan(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "plan", "Which chips serve a model, how fast, at what cost, under which export rule");
  command->footer(
      "Speeds are predictions; ferry plan calibrate shows their errors.\n\nExamples:\n"
      "  ferry plan deepseek-v3 --slo tpot=50ms,ttft=2s --rate 20 --max-chips 256\n"
      "  ferry plan compare deepseek-v3 --chips H20,H800,910C --html out.html\n"
      "  ferry plan simulate deepseek-v3 --chips H800 --count 32 --rate 20\n"
      "  ferry plan memory deepseek-v3 --chips H800 --count 32 --ep 32\n"
      "  ferry plan rules H20 910C --as-of 2026-01-31\n"
      "  ferry plan --calibrate-here --out here.json\n"
      "  ferry plan bench model.gguf --chips here.json");
  command->require_subcommand(0, 1);
  add_command(*command, action, false);
  CLI::App* compare = command->add_subcommand("compare", "One row per chip on one workload");
  add_command(*compare, action, true);
  add_plan_simulate(*command, action);
  add_plan_memory(*command, action);
  add_plan_chips(*command, action);
  add_plan_rules(*command, action);
  add_plan_calibrate(*command, action);
  add_plan_bench(*command, action);
}

}  // namespace ferry::cmd
