// See calibrate.h.
#include "plan/calibrate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace ferry::plan {
namespace {

constexpr double kPrefillTokens = 16384;  // per copy, where a row names no batch
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
    const char* conditions = row.inferred.empty() ? "complete" : "inferred";
    if (name != "all" && name != conditions && name != row.stage && name != row.chip->kind &&
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
  std::vector<std::string> names = {"complete", "inferred", "all", "prefill", "decode",
                                    "mixed",    "gpu",      "npu", "cpu"};
  names.insert(names.end(), classes.begin(), classes.end());
  for (const std::string& name : names) {
    const ErrorSummary summary = summarise(name, calibration.residuals);
    if (summary.rows > 0) calibration.summary.push_back(summary);
  }
}

}  // namespace

Result<double> predict(const Published& row, const Efficiency& e) {
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

Result<double> predict(const Published& row, const EfficiencyTable& table) {
  return predict(row, table.of(*row.chip, row.stack));
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
  std::map<std::string, std::string> class_names;
  for (const Published& row : rows) {
    if (row.chip == nullptr) continue;
    class_names[row.chip->name + "/" + row.stack] = class_of(*row.chip, row.stack);
  }
  for (Efficiency& efficiency : calibration.table.classes) {
    const auto found = class_names.find(efficiency.name);
    const std::string& name = found != class_names.end() ? found->second : efficiency.name;
    for (const ErrorSummary& summary : calibration.summary) {
      const double error = cross_validate ? summary.blind_median : summary.median;
      if (summary.name == "all" || summary.name == name) efficiency.error = error;
    }
  }
  return calibration;
}

}  // namespace ferry::plan
