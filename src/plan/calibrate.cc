// See calibrate.h.
#include "plan/calibrate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace ferry::plan {
namespace {

constexpr double kPrefillTokens = 16384;  // per copy, where a row names no batch
// A parameter a factor e from its parent's costs as much as this many rows a factor e off.
constexpr double kPriorRows = 0.25;
constexpr double kHuber = 0.3;  // beyond, an error counts linearly
constexpr int kRounds = 40;

struct Parameter {
  double Efficiency::*field;
  double low, high;
};
constexpr Parameter kParameters[] = {
    {&Efficiency::prefill, 0.005, 0.9}, {&Efficiency::decode, 0.005, 0.9},
    {&Efficiency::memory, 0.05, 0.95},  {&Efficiency::network, 0.02, 3},
    {&Efficiency::layer_us, 1, 2000},
};

using Rows = std::vector<const Published*>;

Result<double> predict_with(const Published& row, const Efficiency& e) {
  const Deployment& d = row.deployment;
  const auto chips = static_cast<double>(d.chips());
  const auto dp = static_cast<double>(d.dp);
  if (row.stage == "prefill") {
    const double prompts = row.batch > 0 ? row.batch : 1e9;
    const double tokens = std::min(prompts * row.input, kPrefillTokens * dp);
    FERRY_TRY(const StepTime time, prefill_step(d, e, tokens * (1 - row.hit), row.input, row.hit));
    return tokens / time.total() / chips;
  }
  if (row.stage == "decode") {
    FERRY_TRY(const StepTime time, decode_step(d, e, row.batch, row.context));
    const double tpot = time.total() / (1 + d.accepted);
    return row.metric == "tpot_ms" ? tpot * 1e3 : row.batch / tpot / chips;
  }
  FERRY_TRY(const Steady s, steady_state(d, e, row.batch, row.input, row.output, row.hit));
  if (row.metric == "tpot_ms") return s.tpot_s * 1e3;
  const double in = row.metric == "total_tok_s_chip" ? s.input_tokens_s : 0;
  return (s.output_tokens_s + in) / chips;
}

double loss(const Rows& rows, const Efficiency& e, const Efficiency& parent) {
  double sum = 0;
  for (const Published* row : rows) {
    const Result<double> predicted = predict_with(*row, e);
    if (!predicted.ok()) continue;
    const double error = std::abs(std::log(*predicted / row->measured));
    sum += error < kHuber ? error * error : kHuber * (2 * error - kHuber);
  }
  for (const Parameter& p : kParameters) {
    const double away = std::log(e.*p.field / (parent.*p.field));
    sum += kPriorRows * away * away * kHuber;
  }
  return sum;
}

Efficiency fit_class(const std::string& name, const Rows& rows, const Efficiency& parent) {
  Efficiency best = parent;
  best.name = name;
  double best_loss = loss(rows, best, parent);
  double step = std::log(2.0);
  for (int round = 0; round < kRounds && step > 0.004; ++round) {
    bool better = false;
    for (const Parameter& p : kParameters) {
      for (double direction : {step, -step}) {
        Efficiency trial = best;
        trial.*p.field = std::clamp(best.*p.field * std::exp(direction), p.low, p.high);
        const double trial_loss = loss(rows, trial, parent);
        if (trial_loss < best_loss - 1e-9) {
          best = trial;
          best_loss = trial_loss;
          better = true;
        }
      }
    }
    if (!better) step /= 2;
  }
  return best;
}

Rows select(const Rows& rows, const std::string& name) {
  Rows out;
  for (const Published* row : rows) {
    const std::string kind = row->chip->kind + "/" + row->stack;
    if (name == "all/" + row->stack || name == kind || name == class_of(*row->chip, row->stack)) {
      out.push_back(row);
    }
  }
  return out;
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (values[high] - values[low]) * (at - static_cast<double>(low));
}

ErrorSummary summarise(const std::string& name, const std::vector<Residual>& residuals) {
  std::vector<double> fitted, blind;
  for (const Residual& residual : residuals) {
    const Published& row = *residual.row;
    if (name != "all" && name != row.stage && name != row.chip->kind &&
        name != class_of(*row.chip, row.stack)) {
      continue;
    }
    fitted.push_back(std::abs(residual.fitted / row.measured - 1));
    if (residual.blind > 0) blind.push_back(std::abs(residual.blind / row.measured - 1));
  }
  return {.name = name,
          .rows = static_cast<int64_t>(fitted.size()),
          .median = quantile(fitted, 0.5),
          .p90 = quantile(fitted, 0.9),
          .blind_median = quantile(blind, 0.5),
          .blind_p90 = quantile(blind, 0.9)};
}

void summarise_all(Calibration& calibration) {
  std::set<std::string> classes;
  for (const Residual& residual : calibration.residuals) {
    classes.insert(class_of(*residual.row->chip, residual.row->stack));
  }
  std::vector<std::string> names = {"all", "prefill", "decode", "mixed", "gpu", "npu", "cpu"};
  names.insert(names.end(), classes.begin(), classes.end());
  for (const std::string& name : names) {
    const ErrorSummary summary = summarise(name, calibration.residuals);
    if (summary.rows > 0) calibration.summary.push_back(summary);
  }
}

}  // namespace

Result<double> predict(const Published& row, const EfficiencyTable& table) {
  return predict_with(row, table.of(*row.chip, row.stack));
}

EfficiencyTable fit(const std::vector<Published>& rows, std::string_view without_group) {
  Rows usable;
  std::set<std::string> kinds, classes, stacks;
  for (const Published& row : rows) {
    if (!row.incomplete.empty() || row.group == without_group) continue;
    usable.push_back(&row);
    stacks.insert(row.stack);
    kinds.insert(row.chip->kind + "/" + row.stack);
    classes.insert(class_of(*row.chip, row.stack));
  }
  EfficiencyTable table;
  std::map<std::string, Efficiency> parents;
  const auto fit_level = [&](const std::set<std::string>& names) {
    for (const std::string& name : names) {
      const std::string stack = name.substr(name.find('/') + 1);
      const Rows own = select(usable, name);
      const std::string kind = own.front()->chip->kind + "/" + stack;
      const auto found = parents.find(name == "all/" + stack ? ""
                                      : name == kind         ? "all/" + stack
                                                             : kind);
      const Efficiency start = found == parents.end() ? Efficiency{} : found->second;
      parents[name] = fit_class(name, own, start);
    }
  };
  std::set<std::string> roots;
  for (const std::string& stack : stacks) roots.insert("all/" + stack);
  fit_level(roots);
  fit_level(kinds);
  fit_level(classes);
  for (auto& [name, efficiency] : parents) table.classes.push_back(efficiency);
  if (table.classes.empty()) table.classes.push_back({.name = "all/tuned"});
  return table;
}

Calibration evaluate(const std::vector<Published>& rows, const EfficiencyTable& table) {
  Calibration calibration{.table = table};
  for (const Published& row : rows) {
    if (!row.incomplete.empty()) continue;
    const Result<double> predicted = predict(row, table);
    if (predicted.ok()) calibration.residuals.push_back({.row = &row, .fitted = *predicted});
  }
  summarise_all(calibration);
  return calibration;
}

Calibration calibrate(const std::vector<Published>& rows, bool cross_validate) {
  Calibration calibration = evaluate(rows, fit(rows));
  std::map<std::string, EfficiencyTable> without;
  for (Residual& residual : calibration.residuals) {
    if (!cross_validate) break;
    const std::string& group = residual.row->group;
    auto [entry, fresh] = without.try_emplace(group);
    if (fresh) entry->second = fit(rows, group);
    const Result<double> predicted = predict(*residual.row, entry->second);
    if (predicted.ok()) residual.blind = *predicted;
  }
  calibration.summary.clear();
  summarise_all(calibration);
  for (Efficiency& efficiency : calibration.table.classes) {
    efficiency.error = calibration.summary.front().blind_median;
    for (const ErrorSummary& summary : calibration.summary) {
      const double error = cross_validate ? summary.blind_median : summary.median;
      if (summary.name == efficiency.name) efficiency.error = error;
    }
  }
  return calibration;
}

}  // namespace ferry::plan
