// What the files of `ferry plan` share: flags that become search options, and tables.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cmd/command.h"
#include "plan/search.h"

namespace ferry::cmd {

struct PlanFlags {
  std::string model;
  std::string chips = "all";
  std::string chips_file;
  std::string precision;
  std::string kv = "bf16";
  std::string slo;
  std::string workload = "chat";
  std::string stack = "tuned";
  std::string html;
  std::string as_of;
  double rate = 0;
  double input = 0, output = 0, cached = -1;
  double years = 4, kwh = 0.10, utilisation = 1;
  double accepted = -1;
  double disk_gbs = 0;
  int64_t max_chips = 64, count = 0, tp = 0, ep = 0, pp = 0, batch = 0, mtp = 0, context = 0;
  int64_t top = 20;
  bool json = false, csv = false, disaggregated = false;
  bool compare = false;  // one row per chip
};

// What `ferry plan --calibrate-here` takes.
struct HereFlags {
  bool wanted = false;
  std::string out;
  std::string name = "here";
  std::string backend = "cpu";
  std::string activations = "int8";
  std::vector<std::string> formats = {"Q4_0", "Q4_K", "Q6_K", "Q8_0", "BF16"};
  int device = 0, threads = 0;
  int64_t megabytes = 512, repeat = 9;
};
void add_calibrate_here(CLI::App& command, HereFlags& flags);
int calibrate_here(const HereFlags& flags);

// What every part of `ferry plan` that looks at deployments takes.
void add_plan_flags(CLI::App& command, PlanFlags& flags);
void add_output_flags(CLI::App& command, PlanFlags& flags);
// Those and what a search takes besides; the fields of a request to the server (plan_request.h).
void add_search_flags(CLI::App& command, PlanFlags& flags);

// The catalogue, with the chips of --chips-file or --chips FILE.json.
Result<plan::Catalogue> open_catalogue(const PlanFlags& flags);
// --chips: all, or names with commas between them. Chips of classes that the catalogue has.
Result<std::vector<const plan::Chip*>> choose_chips(const plan::Catalogue& catalogue,
                                                    const std::string& names);
// A model of the planner by name, or one on disk with the bytes that an engine holds of it for
// sequences of `context` tokens (0: what the engine takes).
Result<plan::PlanModel> open_plan_model(const std::string& argument, int64_t context = 0);
// Chips are left to the caller. Errors begin with the option: "--slo: …".
Result<plan::SearchOptions> search_options(const PlanFlags& flags);
// --as-of; without it the day on which the facts end.
Result<std::string> rules_day(const PlanFlags& flags);

// What there is to show: the search, cut to --top rows; with `compare` the best row of each chip.
Result<plan::SearchResult> find_options(const plan::PlanModel& model,
                                        const plan::SearchOptions& options, const PlanFlags& flags);

// "1.5s", "50ms", "2" (seconds).
Result<double> parse_duration(const std::string& text);

// Rows of cells as a table on stdout: columns as wide as their widest cell, numbers to the right.
// With `csv`, as CSV with quoted text. Cell widths count characters of UTF-8.
void print_table(const std::vector<std::string>& header,
                 const std::vector<std::vector<std::string>>& rows, bool csv);

// Three significant digits: "0.0123", "12.3", "1234".
std::string short_number(double value);
// "50 ms", "1.23 s"
std::string duration_text(double seconds);
// "high", "very low", …: how sure the catalogue is of this chip, without the reasons.
std::string facts_level(const plan::Chip& chip);
std::string split_text(const plan::Deployment& deployment);  // "tp2 · dp4 · ep8"
std::string range_text(const std::optional<plan::Range>& range);

void add_plan_simulate(CLI::App& plan, Action& action);
void add_plan_chips(CLI::App& plan, Action& action);
void add_plan_rules(CLI::App& plan, Action& action);
void add_plan_calibrate(CLI::App& plan, Action& action);
void add_plan_memory(CLI::App& plan, Action& action);
void add_plan_bench(CLI::App& plan, Action& action);

}  // namespace ferry::cmd
