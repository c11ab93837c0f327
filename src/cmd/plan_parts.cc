// See plan_parts.h.
#include "cmd/plan_parts.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/quote_name.h"
#include "cmd/read_input.h"
#include "plan/rules.h"
#include "plan/workload.h"

namespace ferry::cmd {
namespace {

std::vector<std::string> split_list(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::string part;
  for (char c : text) {
    if (c == separator) {
      parts.push_back(part);
      part.clear();
    } else {
      part += c;
    }
  }
  parts.push_back(part);
  return parts;
}

Result<plan::ServiceLevel> parse_slo(const std::string& text) {
  plan::ServiceLevel slo;
  if (text.empty()) return slo;
  for (const std::string& part : split_list(text, ',')) {
    const size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    if (equals == std::string::npos || (key != "tpot" && key != "ttft")) {
      return invalid_input("--slo: expected tpot=TIME,ttft=TIME, found {}", quote_name(part));
    }
    const auto seconds = parse_duration(part.substr(equals + 1));
    if (!seconds.ok()) return seconds.error().in("--slo: " + key);
    (key == "tpot" ? slo.tpot_s : slo.ttft_s) = *seconds;
  }
  return slo;
}

size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

bool looks_like_number(const std::string& text) {
  return !text.empty() && (std::isdigit(static_cast<unsigned char>(text[0])) || text[0] == '-');
}

void print_csv_row(const std::vector<std::string>& cells) {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    std::string cell = cells[i];
    if (cell.find_first_of(",\"\n") != std::string::npos) {
      std::string quoted = "\"";
      for (char c : cell) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
      cell = quoted + "\"";
    }
    line += (i == 0 ? "" : ",") + cell;
  }
  std::printf("%s\n", line.c_str());
}

// A number in this range, which "nan" is not.
template <typename Number>
CLI::Validator between(Number low, Number high) {
  return {[low, high](std::string& text) {
            Number value{};
            if (CLI::detail::lexical_cast(text, value) && value >= low && value <= high) {
              return std::string();
            }
            return fmt::format("expected {} to {}, found {}", low, high, one_line(text, 40));
          },
          fmt::format("{} to {}", low, high)};
}

// "20/s" → "20"
std::string without_per_second(std::string text) {
  if (text.size() > 2 && text.substr(text.size() - 2) == "/s") text.resize(text.size() - 2);
  return text;
}

// The first of each chip, which is the best of its precisions.
std::vector<plan::Option> one_per_chip(const std::vector<plan::Option>& options) {
  std::vector<plan::Option> best;
  for (const plan::Option& option : options) {
    const bool seen = std::any_of(best.begin(), best.end(), [&option](const plan::Option& other) {
      return other.deployment.chip == option.deployment.chip;
    });
    if (!seen) best.push_back(option);
  }
  return best;
}

}  // namespace

Result<double> parse_duration(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(error == std::errc() ? end : text.data());
  const double scale = unit == "ms"                  ? 1e-3
                       : unit == "s" || unit.empty() ? 1
                       : unit == "us"                ? 1e-6
                                                     : 0;
  if (error != std::errc() || scale == 0 || !(value > 0) || value > 1e6) {
    return invalid_input("{}: expected a time such as 50ms or 2s", quote_name(text, 40));
  }
  return value * scale;
}

void add_output_flags(CLI::App& command, PlanFlags& flags) {
  command
      .add_option("--chips-file", flags.chips_file, "More chips, or better values of known ones")
      ->type_name("FILE");
  command.add_flag("--json", flags.json, "Print JSON");
  command.add_flag("--csv", flags.csv, "Print CSV");
}

void add_plan_flags(CLI::App& command, PlanFlags& flags) {
  const auto positive = between(0.0, 1e9);
  command.add_option("--chips", flags.chips, "all, chips by name with commas, or a FILE.json")
      ->type_name("LIST");
  command.add_option("--max-chips", flags.max_chips, "At most so many chips")
      ->check(between(int64_t{1}, int64_t{1} << 16));
  command.add_option("--count", flags.count, "Chips of one deployment; 0: searched")
      ->check(between(int64_t{0}, int64_t{1} << 16));
  command.add_option("--slo", flags.slo, "Service levels: tpot=50ms,ttft=2s")->type_name("LEVELS");
  command
      .add_option("--rate", flags.rate,
                  "Requests per second to serve (20 or 20/s); 0: one deployment's most")
      ->transform(without_per_second)
      ->check(positive);
  command
      .add_option("--workload", flags.workload, "Lengths: chat, code, long-chat, agent, reasoning")
      ->type_name("NAME");
  command.add_option("--input", flags.input, "Mean tokens of a prompt instead")->check(positive);
  command.add_option("--output", flags.output, "Mean tokens of an answer instead")->check(positive);
  command.add_option("--cached", flags.cached, "Share of prompts in the prefix cache instead")
      ->check(between(-1.0, 0.999));
  command
      .add_option("--precision", flags.precision,
                  "bf16, fp8, mxfp8, int8, fp4, mxfp4, int4, a format, or DENSE+EXPERTS of these; "
                  "with commas; "
                  "default: searched")
      ->type_name("LIST");
  command.add_option("--kv-dtype", flags.kv, "Of the cache: bf16, fp8, int8 or f32")
      ->type_name("TYPE");
  for (auto& [name, field, help] :
       std::initializer_list<std::tuple<const char*, int64_t*, const char*>>{
           {"--tp", &flags.tp, "Tensor parallel degree; 0: searched"},
           {"--ep", &flags.ep, "Expert parallel degree; 0: searched"},
           {"--pp", &flags.pp, "Pipeline stages; 0: one"},
           {"--batch", &flags.batch, "Sequences at once in a deployment; 0: searched"}}) {
    command.add_option(name, *field, help)->check(between(int64_t{0}, int64_t{1} << 20));
  }
  command.add_option("--mtp", flags.mtp, "Tokens drafted per step")
      ->check(between(int64_t{0}, int64_t{16}));
  command.add_option("--accepted", flags.accepted, "Of them, on average; default 0.8, 0.64, …")
      ->check(between(-1.0, 16.0));
  command.add_option("--stack", flags.stack, "tuned or general: whose overheads apply")
      ->check(CLI::IsMember({"tuned", "general"}));
  command.add_flag("--disaggregated", flags.disaggregated,
                   "Prompts are computed by deployments of their own");
  command.add_option("--years", flags.years, "Over which a bought chip is paid off")
      ->check(between(0.1, 50.0));
  command.add_option("--usd-per-kwh", flags.kwh, "Price of power")->check(between(0.0, 10.0));
  command.add_option("--utilisation", flags.utilisation, "Share of paid hours that are used")
      ->check(between(0.01, 1.0));
}

void add_search_flags(CLI::App& command, PlanFlags& flags) {
  add_plan_flags(command, flags);
  command
      .add_option("-c,--context", flags.context,
                  "Tokens of the longest sequence that must fit; 0: a mean prompt and answer")
      ->check(between(int64_t{0}, int64_t{1} << 24));
  command
      .add_option("--disk-gbs", flags.disk_gbs,
                  "GB/s that the disk reads, for models larger than memory; 0: unknown")
      ->check(between(0.0, 1e4));
  command.add_option("--top", flags.top, "Rows to show")
      ->check(between(int64_t{1}, int64_t{10000}));
  command
      .add_option("--as-of", flags.as_of,
                  "Day of the export rules in --json and --html; default: where the facts end")
      ->type_name("YYYY-MM-DD");
}

Result<plan::Catalogue> open_catalogue(const PlanFlags& flags) {
  FERRY_TRY(plan::Catalogue catalogue, plan::builtin_catalogue());
  std::vector<std::string> paths;
  if (!flags.chips_file.empty()) paths.push_back(flags.chips_file);
  if (flags.chips.ends_with(".json")) paths.push_back(flags.chips);
  for (const std::string& path : paths) {
    FERRY_TRY(const std::string text, read_input(path));
    auto more = plan::read_catalogue(text);
    if (!more.ok()) return more.error().in(path);
    catalogue.add(std::move(*more));
  }
  return catalogue;
}

Result<std::vector<const plan::Chip*>> choose_chips(const plan::Catalogue& catalogue,
                                                    const std::string& names) {
  std::vector<const plan::Chip*> chips;
  if (names == "all" || names.ends_with(".json")) {
    for (const plan::Chip& chip : catalogue.chips) chips.push_back(&chip);
    return chips;
  }
  for (const std::string& name : split_list(names, ',')) {
    FERRY_TRY(const plan::Chip* chip, catalogue.find(name));
    chips.push_back(chip);
  }
  return chips;
}

Result<plan::SearchOptions> search_options(const PlanFlags& flags) {
  plan::SearchOptions options;
  const auto preset = plan::find_workload(flags.workload);
  if (!preset.ok()) return preset.error().in("--workload");
  options.workload = {.input = flags.input > 0 ? flags.input : preset->input_mean(),
                      .output = flags.output > 0 ? flags.output : preset->output_mean(),
                      .cached = flags.cached >= 0 ? flags.cached : preset->cached,
                      .longest = static_cast<double>(flags.context),
                      .rate = flags.rate};
  FERRY_TRY(options.slo, parse_slo(flags.slo));
  if (!flags.precision.empty()) options.precisions = split_list(flags.precision, ',');
  if (const auto kv = plan::find_precision("bf16", flags.kv); !kv.ok()) {
    return kv.error().in("--kv-dtype");
  }
  for (const std::string& precision : options.precisions) {
    if (precision == plan::kFilePrecision) continue;
    const auto known = plan::find_precision(precision, flags.kv);
    if (!known.ok()) return known.error().in("--precision");
  }
  options.kv = flags.kv;
  options.cost = {.years = flags.years, .usd_per_kwh = flags.kwh, .utilisation = flags.utilisation};
  options.max_chips = flags.max_chips;
  options.chips_exactly = flags.count;
  options.tp = flags.tp;
  options.ep = flags.ep;
  options.pp = flags.pp;
  options.batch = flags.batch;
  options.mtp = flags.mtp;
  options.stack = flags.stack;
  options.disaggregated = flags.disaggregated;
  options.disk_gbs = flags.disk_gbs;
  double chance = 0.8;  // that a draft is accepted when all before it were
  for (int64_t i = 0; i < flags.mtp; ++i, chance *= 0.8) options.accepted += chance;
  if (flags.accepted >= 0) options.accepted = flags.accepted;
  if (options.accepted > static_cast<double>(flags.mtp)) {
    return invalid_input("--accepted: {} of {} drafted tokens", options.accepted, flags.mtp);
  }
  return options;
}

Result<std::string> rules_day(const PlanFlags& flags) {
  std::string day = flags.as_of.empty() ? std::string(plan::kFactsEnd) : flags.as_of;
  const Status valid = plan::check_date(day);
  if (!valid.ok()) return valid.error().in("--as-of");
  return day;
}

Result<plan::SearchResult> find_options(const plan::PlanModel& model,
                                        const plan::SearchOptions& options,
                                        const PlanFlags& flags) {
  FERRY_TRY(plan::SearchResult found, plan::search(model, options));
  if (flags.compare) found.options = one_per_chip(found.options);
  const auto top = static_cast<size_t>(flags.top);
  if (found.options.size() > top) found.options.resize(top);
  return found;
}

void print_table(const std::vector<std::string>& header,
                 const std::vector<std::vector<std::string>>& rows, bool csv) {
  if (csv) {
    print_csv_row(header);
    for (const auto& row : rows) print_csv_row(row);
    return;
  }
  std::vector<size_t> widths;
  for (const std::string& cell : header) widths.push_back(width_of(cell));
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  const auto print = [&widths](const std::vector<std::string>& row, bool is_header) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string pad(widths[i] - width_of(row[i]), ' ');
      const bool right = !is_header && looks_like_number(row[i]);
      line += (i == 0 ? "" : "  ") + (right ? pad + row[i] : row[i] + pad);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    std::printf("%s\n", line.c_str());
  };
  print(header, true);
  for (const auto& row : rows) print(row, false);
}

std::string short_number(double value) {
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size >= 100) return fmt::format("{:.0f}", value);
  if (size >= 10) return fmt::format("{:.1f}", value);
  if (size >= 1) return fmt::format("{:.2f}", value);
  return fmt::format("{:.3g}", value);
}

std::string duration_text(double seconds) {
  return seconds < 1 ? short_number(seconds * 1e3) + " ms" : short_number(seconds) + " s";
}

std::string facts_level(const plan::Chip& chip) {
  std::string level = chip.confidence.substr(0, chip.confidence.find_first_of("(:;,"));
  while (!level.empty() && level.back() == ' ') level.pop_back();
  return level.empty() ? "unknown" : level;
}

std::string split_text(const plan::Deployment& d) {
  std::string text;
  for (auto [name, degree] : {std::pair{"tp", d.tp}, {"dp", d.dp}, {"ep", d.ep}, {"pp", d.pp}}) {
    if (degree > 1) text += (text.empty() ? "" : " ") + std::string(name) + std::to_string(degree);
  }
  return text.empty() ? "single" : text;
}

std::string range_text(const std::optional<plan::Range>& range) {
  if (!range) return "unknown";
  return short_number(range->value) + " (" + short_number(range->low) + "–" +
         short_number(range->high) + ")";
}

}  // namespace ferry::cmd
