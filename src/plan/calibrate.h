// Calibration: published measurements, what the speed model says of them, and the fit of its
// parameters (fit.cc) — chip by chip, each drawn towards its vendor, its kind and all, so that a
// chip with few rows stays near what is known of others. No parameter belongs to a row.
//
// Layout of the file (CSV, header line, fields may be quoted):
//   id, group, model, chip, chips, node, stage, tp, ep, weights, kv, balance, mtp, accept, stack,
//   batch, input, output, context, hit, metric, measured, inferred, incomplete, source, confidence
// `stage` is prefill, decode or mixed; `metric` prefill_tok_s_chip, decode_tok_s_chip,
// total_tok_s_chip or tpot_ms; `batch` counts sequences of the whole deployment. A row whose
// `incomplete` says why is carried and never fitted; `inferred` names conditions that the
// source does not state and that were supplied for it, and such rows are summed up apart. `balance`
// is "forced" where every expert was given as many tokens.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "plan/speed.h"

namespace ferry::plan {

struct Published {
  std::string id, group, stage, metric, stack, inferred, incomplete, source, confidence;
  std::shared_ptr<const PlanModel> model;
  std::shared_ptr<const Chip> chip;
  Deployment deployment;
  double batch = 0, input = 0, output = 0, context = 0, hit = 0;
  double measured = 0;
};

// Errors name the line and the column. Incomplete rows need no known chip or model.
Result<std::vector<Published>> read_published(std::string_view csv, const Catalogue& catalogue);

// In the unit of the row's metric. REQUIRES: row.incomplete.empty()
Result<double> predict(const Published& row, const EfficiencyTable& table);
Result<double> predict(const Published& row, const Efficiency& efficiency);

// Rows of `without_group` are left out; "" leaves none out.
EfficiencyTable fit(const std::vector<Published>& rows, std::string_view without_group = "");

struct Residual {
  const Published* row = nullptr;
  double fitted = 0;  // predicted by the table that was fitted on all rows
  double blind = 0;   // by the one fitted without the row's group; 0: not asked for
};

struct ErrorSummary {
  std::string name;
  int64_t rows = 0;
  double median = 0, p90 = 0;              // of |predicted / measured − 1|, fitted
  double blind_median = 0, blind_p90 = 0;  // the same with the group left out
};

struct Calibration {
  EfficiencyTable table;  // its errors are the blind medians of the class
  std::vector<Residual> residuals;
  // "complete", "inferred", "all"; then by stage, by kind of chip, by class
  std::vector<ErrorSummary> summary;
};

Calibration calibrate(const std::vector<Published>& rows, bool cross_validate);

// The same table for parameters that are given.
Calibration evaluate(const std::vector<Published>& rows, const EfficiencyTable& table);

}  // namespace ferry::plan
