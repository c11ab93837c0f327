// `ferry plan chips`, `rules`, `memory` and `calibrate`: what the planner knows, chip by chip, and
// how far its speed model is from what others measured.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "cmd/plan_json.h"
#include "cmd/plan_parts.h"
#include "cmd/read_input.h"
#include "plan/calibrate.h"
#include "plan/data.h"
#include "plan/rules.h"

namespace ferry::cmd {
namespace {

std::string joined(const std::vector<std::string>& parts, const char* separator) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : separator) + part;
  return text;
}

Result<std::vector<const plan::Chip*>> chosen_facts(const plan::Catalogue& catalogue,
                                                    const std::vector<std::string>& names) {
  return choose_chips(catalogue, names.empty() ? "all" : joined(names, ","));
}

Result<int> run_chips(const PlanFlags& flags, const std::vector<std::string>& names) {
  FERRY_TRY(const plan::Catalogue catalogue, open_catalogue(flags));
  FERRY_TRY(const auto chips, chosen_facts(catalogue, names));
  Json out = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const plan::Chip* chip : chips) {
    std::vector<std::string> row = {chip->name};
    for (const plan::ChipField& field : plan::chip_fields()) {
      const plan::MaybeKnown& known = chip->*field.field;
      if (field.key == "int4_tops" || field.key == "vector_int8_tops" || field.key == "system_w" ||
          field.key == "die_mm2")
        continue;
      row.push_back(known ? short_number(known->value) : "–");
    }
    out.push_back(chip_json(*chip));
    rows.push_back(row);
  }
  if (flags.json) {
    print_json({{"as_of", catalogue.as_of}, {"chips", out}});
    return 0;
  }
  print_table({"chip", "fp16", "bf16", "fp8", "int8", "fp4", "GB", "GB/s", "link", "scale-out", "W",
               "USD", "USD/h"},
              rows, flags.csv);
  if (flags.csv) return 0;
  std::printf(
      "\nDense T operations/s; GB/s of memory, of the link and of scale-out one way per chip; "
      "–: unknown.\n");
  if (chips.size() <= 3) {
    for (const plan::Chip* chip : chips) {
      std::printf("\n%s\n  source: %s\n  confidence: %s\n", chip->name.c_str(),
                  chip->source.c_str(), chip->confidence.c_str());
      if (!chip->notes.empty()) std::printf("  notes: %s\n", chip->notes.c_str());
    }
  }
  return 0;
}

Result<int> run_rules(const PlanFlags& flags, const std::vector<std::string>& names) {
  FERRY_TRY(const std::string as_of, rules_day(flags));
  FERRY_TRY(const plan::Catalogue catalogue, open_catalogue(flags));
  FERRY_TRY(const auto chips, chosen_facts(catalogue, names));
  Json out = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const plan::Chip* chip : chips) {
    const plan::Position p = plan::position_of(*chip, as_of);
    out.push_back(position_json(*chip, p));
    rows.push_back({chip->name, p.tpp ? fmt::format("{:.0f}", *p.tpp) : "unknown",
                    p.pd ? fmt::format("{:.2f}", *p.pd) : "unknown", joined(p.paragraphs, " or "),
                    p.named_in_gp10    ? "named"
                    : p.gp10_may_apply ? "may apply"
                                       : "–",
                    !p.case_by_case_figures   ? "–"
                    : *p.case_by_case_figures ? "within"
                                              : "above",
                    joined(p.notes, "; ")});
  }
  if (flags.json) {
    print_json({{"as_of", as_of}, {"positions", out}, {"note", plan::kNoLegalAdvice}});
    return 0;
  }
  if (!flags.csv) std::printf("As of %s\n\n", as_of.c_str());
  print_table(
      {"chip", "TPP", "PD", "paragraph by arithmetic", "GP10 2025", "figures 2026", "notes"}, rows,
      flags.csv);
  if (flags.csv) {
    std::fprintf(stderr, "%s\n", std::string(plan::kNoLegalAdvice).c_str());
    return 0;
  }
  std::printf("\nUp to then\n");
  for (const plan::RuleEvent& event : plan::rule_events()) {
    if (event.date > as_of) break;
    std::printf("  %s  %s\n", std::string(event.date).c_str(), std::string(event.text).c_str());
  }
  std::printf("\n%s\n", std::string(plan::kNoLegalAdvice).c_str());
  return 0;
}

Result<plan::Deployment> deployment_of(const PlanFlags& flags, const plan::Chip& chip,
                                       const plan::PlanModel& model) {
  plan::Deployment d{.chip = &chip, .model = &model};
  const std::string usual = model.stored ? plan::kFilePrecision : "fp8";
  FERRY_TRY(d.precision, plan::precision_for(
                             model, flags.precision.empty() ? usual : flags.precision, flags.kv));
  d.tp = std::max<int64_t>(flags.tp, 1);
  d.pp = std::max<int64_t>(flags.pp, 1);
  const int64_t count = std::max(flags.count, d.tp * d.pp);
  if (count % (d.tp * d.pp) != 0) {
    return invalid_input("--count: {} chips can't be cut by tp · pp = {}", count, d.tp * d.pp);
  }
  d.dp = count / (d.tp * d.pp);
  d.ep = std::max<int64_t>(flags.ep, 1);
  FERRY_TRY_VOID(plan::check_deployment(d));
  return d;
}

Result<int> run_memory(const PlanFlags& flags) {
  FERRY_TRY(const plan::Catalogue catalogue, open_catalogue(flags));
  FERRY_TRY(const plan::PlanModel model, open_plan_model(flags.model, flags.context));
  FERRY_TRY(const auto chips, choose_chips(catalogue, flags.chips));
  const auto context = static_cast<double>(flags.context);
  Json out = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const plan::Chip* chip : chips) {
    FERRY_TRY(const plan::Deployment d, deployment_of(flags, *chip, model));
    const auto use = plan::memory_of(d);
    if (!use.ok() && chips.size() == 1) return use.error();
    if (!use.ok()) continue;
    const auto bytes = [](double value) { return format_bytes(static_cast<int64_t>(value)); };
    const int64_t sequences = use->max_sequences(context, d.dp);
    rows.push_back({chip->name, split_text(d), bytes(use->expert_weights),
                    bytes(use->other_weights), bytes(use->embeddings), bytes(use->workspace),
                    bytes(use->reserve),
                    use->free_for_kv() > 0 ? bytes(use->free_for_kv()) : "none",
                    bytes(use->kv_per_token), std::to_string(sequences)});
    out.push_back({{"chip", chip->name},
                   {"chips", d.chips()},
                   {"tp", d.tp},
                   {"dp", d.dp},
                   {"ep", d.ep},
                   {"pp", d.pp},
                   {"expert_weights", use->expert_weights},
                   {"other_weights", use->other_weights},
                   {"embeddings", use->embeddings},
                   {"workspace", use->workspace},
                   {"reserve", use->reserve},
                   {"free_for_kv", use->free_for_kv()},
                   {"kv_bytes_per_token", use->kv_per_token},
                   {"kv_bytes_per_sequence", use->kv_per_sequence},
                   {"context", flags.context},
                   {"max_sequences", sequences},
                   {"fits", sequences > 0}});
  }
  if (flags.json) {
    print_json({{"model", model.name}, {"memory", out}});
    return 0;
  }
  print_table({"chip", "split", "experts", "other weights", "embeddings", "scratch", "reserve",
               "free", "KV/token", fmt::format("sequences of {}", flags.context)},
              rows, flags.csv);
  if (!flags.csv) std::printf("\nBytes of one chip; sequences of the whole deployment.\n");
  return 0;
}

struct CalibrateFlags {
  std::string published;
  std::string out;
  bool refit = false;
  bool json = false;
  bool csv = false;
};

Json calibration_json(const plan::Calibration& calibration) {
  Json out = plan::efficiency_to_json(calibration.table);
  for (const plan::ErrorSummary& s : calibration.summary) {
    out["summary"].push_back({{"name", s.name},
                              {"rows", s.rows},
                              {"median", s.median},
                              {"p90", s.p90},
                              {"blind_median", s.blind_median},
                              {"blind_p90", s.blind_p90}});
  }
  for (const plan::Residual& r : calibration.residuals) {
    out["residuals"].push_back({{"id", r.row->id},
                                {"group", r.row->group},
                                {"metric", r.row->metric},
                                {"inferred", r.row->inferred},
                                {"measured", r.row->measured},
                                {"predicted", r.fitted},
                                {"blind", r.blind > 0 ? Json(r.blind) : Json(nullptr)}});
  }
  return out;
}

void print_calibration(const plan::Calibration& calibration,
                       const std::vector<plan::Published>& rows, bool csv) {
  std::vector<std::vector<std::string>> table;
  for (const plan::Residual& r : calibration.residuals) {
    const plan::Published& row = *r.row;
    table.push_back({row.id, row.group, plan::class_of(*row.chip, row.stack), row.metric,
                     short_number(row.measured), short_number(r.fitted),
                     fmt::format("{:.2f}", r.fitted / row.measured),
                     r.blind > 0 ? fmt::format("{:.2f}", r.blind / row.measured) : "–"});
  }
  print_table({"row", "group", "class", "metric", "measured", "predicted", "ratio", "left out"},
              table, csv);
  if (csv) return;
  std::printf("\n");
  table.clear();
  const auto percent = [](double value) { return fmt::format("{:.0f} %", value * 100); };
  for (const plan::ErrorSummary& s : calibration.summary) {
    const bool blind = s.blind_p90 > 0;
    table.push_back({s.name, std::to_string(s.rows), percent(s.median), percent(s.p90),
                     blind ? percent(s.blind_median) : "–", blind ? percent(s.blind_p90) : "–"});
  }
  print_table({"rows of", "count", "median", "90th", "left out: median", "90th"}, table, false);
  std::printf("\nError |predicted / measured − 1|; left out: the row's group was not fitted on.\n");
  std::printf("\nNot predicted: conditions incomplete\n");
  for (const plan::Published& row : rows) {
    if (row.incomplete.empty()) continue;
    std::printf("  %-24s %s\n", row.id.c_str(), row.incomplete.c_str());
  }
}

Result<int> run_calibrate(const CalibrateFlags& flags) {
  FERRY_TRY(const plan::Catalogue catalogue, plan::builtin_catalogue());
  std::string text(plan::published_csv());
  if (!flags.published.empty()) {
    FERRY_TRY(text, read_input(flags.published));
  }
  const auto rows = plan::read_published(text, catalogue);
  if (!rows.ok()) {
    return rows.error().in(flags.published.empty() ? "published.csv" : flags.published);
  }
  plan::Calibration calibration;
  if (flags.refit || !flags.out.empty()) {
    calibration = plan::calibrate(*rows, true);
  } else {
    FERRY_TRY(const plan::EfficiencyTable table, plan::builtin_efficiency());
    calibration = plan::evaluate(*rows, table);
  }
  if (!flags.out.empty()) {
    std::ofstream file(flags.out, std::ios::binary);
    file << calibration_json(calibration).dump(1) << "\n";
    file.close();
    if (!file) return io_error("{}: can't be written", flags.out);
  }
  if (flags.json) {
    print_json(calibration_json(calibration));
  } else {
    print_calibration(calibration, *rows, flags.csv);
  }
  return 0;
}

using MeasuredRun = Result<int> (*)(const PlanFlags&, const std::vector<std::string>&);

void set_action(CLI::App& command, Action& action, std::shared_ptr<PlanFlags> flags,
                std::shared_ptr<std::vector<std::string>> names, MeasuredRun run) {
  command.add_option("chip", *names, "Chips by name; none: all")->type_name("CHIP...");
  add_output_flags(command, *flags);
  command.callback([&action, flags, names, run] {
    action = [flags, names, run] {
      const Result<int> code = run(*flags, *names);
      return code.ok() ? *code : fail(code.error());
    };
  });
}

}  // namespace

void add_plan_chips(CLI::App& plan, Action& action) {
  CLI::App* command = plan.add_subcommand("chips", "The catalogue of chips, with sources");
  auto flags = std::make_shared<PlanFlags>();
  set_action(*command, action, flags, std::make_shared<std::vector<std::string>>(), run_chips);
}

void add_plan_rules(CLI::App& plan, Action& action) {
  CLI::App* command =
      plan.add_subcommand("rules", "Export-control arithmetic and dates per chip; no legal advice");
  auto flags = std::make_shared<PlanFlags>();
  command->add_option("--as-of", flags->as_of, "On this day; default: where the facts end")
      ->type_name("YYYY-MM-DD");
  set_action(*command, action, flags, std::make_shared<std::vector<std::string>>(), run_rules);
}

void add_plan_memory(CLI::App& plan, Action& action) {
  CLI::App* command =
      plan.add_subcommand("memory", "Does a model fit, and with how many sequences");
  auto flags = std::make_shared<PlanFlags>();
  flags->context = 4096;
  command->add_option("model", flags->model, "A public model by name or one on disk")
      ->type_name("MODEL")
      ->required();
  command->add_option("-c,--context", flags->context, "Tokens of a sequence")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
  add_plan_flags(*command, *flags);
  add_output_flags(*command, *flags);
  command->callback([&action, flags] {
    action = [flags] {
      const Result<int> code = run_memory(*flags);
      return code.ok() ? *code : fail(code.error());
    };
  });
}

void add_plan_calibrate(CLI::App& plan, Action& action) {
  CLI::App* command = plan.add_subcommand(
      "calibrate", "Predicted against published speeds; --refit fits the parameters anew");
  auto flags = std::make_shared<CalibrateFlags>();
  command
      ->add_option("published", flags->published, "Measurements (CSV); default: the built-in ones")
      ->type_name("FILE");
  command->add_flag("--refit", flags->refit, "Fit, with each group left out in turn");
  command->add_option("--out", flags->out, "Fit and write the parameters and residuals here")
      ->type_name("FILE");
  command->add_flag("--json", flags->json, "Print JSON");
  command->add_flag("--csv", flags->csv, "Print CSV");
  command->callback([&action, flags] {
    action = [flags] {
      const Result<int> code = run_calibrate(*flags);
      return code.ok() ? *code : fail(code.error());
    };
  });
}

}  // namespace ferry::cmd
