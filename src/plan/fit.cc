// The fit of the speed model's parameters; see calibrate.h.
//
// The logarithm of each parameter of a class is a sum of effects, and all are fitted at once:
//
//   "Ascend 910C/general" = start + all + kind "npu" + vendor "huawei" + stack "general"
//                           + both "huawei/general" + chip "Ascend 910C"
//
// Each effect is drawn towards zero by a normal prior, so that what few rows know of a class comes
// from the effects it shares with others. Rows of one group are not independent: n of them weigh
// √n. Large errors count linearly (Huber).
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "plan/calibrate.h"

namespace ferry::plan {
namespace {

constexpr double kRowSigma = 0.2;  // of ln(predicted / measured)
constexpr double kHuber = 2;       // in units of it
constexpr int kRounds = 200;
constexpr double kFirstStep = 0.5, kLastStep = 0.005;  // of a logarithm

struct Parameter {
  double Efficiency::*field;
  double low, high;
};
constexpr std::array<Parameter, 6> kParameters = {{
    {&Efficiency::prefill, 0.005, 0.9},
    {&Efficiency::decode, 0.005, 0.9},
    {&Efficiency::memory, 0.05, 0.95},
    {&Efficiency::network, 0.02, 1},
    {&Efficiency::layer_us, 1, 5000},
    {&Efficiency::pass_us, 10, 1e6},
}};

// Prior widths of the logarithms.
double width_of(const std::string& effect) {
  if (effect == "all") return 1;
  if (effect == "kind cpu") return 1.5;  // another kind of machine altogether
  if (effect.starts_with("kind")) return 0.3;
  if (effect.starts_with("stack")) return 0.7;
  if (effect.starts_with("chip")) return 0.25;
  return 0.3;  // vendors; interactions of vendor and stack
}

struct Class {
  std::string name, kind, vendor, chip, stack;  // all but name and stack may be empty: of any
  std::vector<std::string> effects() const {
    std::vector<std::string> names = {"all"};
    if (!kind.empty()) names.push_back("kind " + kind);
    if (!vendor.empty() && vendor != kind) names.push_back("vendor " + vendor);
    if (stack != "tuned") names.push_back("stack " + stack);
    if (!vendor.empty() && stack != "tuned") names.push_back("both " + vendor + "/" + stack);
    if (!chip.empty()) names.push_back("chip " + chip);
    return names;
  }
};

Class class_for(const Chip& chip, const std::string& stack) {
  const std::string vendor = class_of(chip, stack);
  return {.name = chip.name + "/" + stack,
          .kind = chip.kind,
          .vendor = vendor.substr(0, vendor.find('/')),
          .chip = chip.name,
          .stack = stack};
}

using Effect = std::array<double, kParameters.size()>;

class Fit {
 public:
  explicit Fit(const std::vector<const Published*>& rows) {
    std::map<std::string, double> group_rows;
    for (const Published* row : rows) ++group_rows[row->group];
    for (const Published* row : rows) {
      rows_.push_back(
          {row, class_for(*row->chip, row->stack), 1 / std::sqrt(group_rows[row->group])});
      for (const std::string& name : rows_.back().group.effects()) {
        effects_[name];
        touched_[name].push_back(rows_.size() - 1);
      }
    }
    losses_.resize(rows_.size());
    for (size_t i = 0; i < rows_.size(); ++i) losses_[i] = row_loss(i);
  }

  void run() {
    double step = kFirstStep;
    for (int round = 0; round < kRounds && step > kLastStep; ++round) {
      bool better = false;
      for (auto& [name, effect] : effects_) {
        for (size_t p = 0; p < kParameters.size(); ++p) {
          better = try_move(name, effect[p], step) || try_move(name, effect[p], -step) || better;
        }
      }
      if (!better) step /= 2;
    }
  }

  Efficiency of(const Class& group) const {
    Efficiency out;
    out.name = group.name;
    for (const std::string& name : group.effects()) {
      const auto found = effects_.find(name);
      if (found == effects_.end()) continue;
      for (size_t p = 0; p < kParameters.size(); ++p) {
        out.*kParameters[p].field *= std::exp(found->second[p]);
      }
    }
    for (const Parameter& p : kParameters) {
      out.*p.field = std::clamp(out.*p.field, p.low, p.high);
    }
    return out;
  }

 private:
  struct Row {
    const Published* row;
    Class group;
    double weight;
  };

  double row_loss(size_t i) const {
    const Result<double> predicted = predict(*rows_[i].row, of(rows_[i].group));
    if (!predicted.ok()) return 0;
    const double error = std::abs(std::log(*predicted / rows_[i].row->measured)) / kRowSigma;
    return rows_[i].weight * (error < kHuber ? error * error : kHuber * (2 * error - kHuber));
  }

  bool try_move(const std::string& name, double& value, double step) {
    const double width = width_of(name);
    const double before = value;
    double change = ((before + step) * (before + step) - before * before) / (width * width);
    value = before + step;
    const std::vector<size_t>& rows = touched_[name];
    std::vector<double> losses;
    for (size_t i : rows) {
      losses.push_back(row_loss(i));
      change += losses.back() - losses_[i];
    }
    if (change < -1e-6) {
      for (size_t j = 0; j < rows.size(); ++j) losses_[rows[j]] = losses[j];
      return true;
    }
    value = before;
    return false;
  }

  std::vector<Row> rows_;
  std::vector<double> losses_;
  std::map<std::string, Effect> effects_;
  std::map<std::string, std::vector<size_t>> touched_;
};

}  // namespace

EfficiencyTable fit(const std::vector<Published>& rows, std::string_view without_group) {
  std::vector<const Published*> usable;
  std::map<std::string, Class> classes;
  for (const Published& row : rows) {
    if (!row.incomplete.empty()) continue;
    // Classes of the group that is left out are still predicted, from what they share.
    for (const std::string stack : {"tuned", "general"}) {
      const Class own = class_for(*row.chip, stack);
      const std::string vendor = own.vendor + "/" + stack, kind = own.kind + "/" + stack;
      classes[own.name] = own;
      classes["all/" + stack] = {.name = "all/" + stack, .stack = stack};
      classes[kind] = {.name = kind, .kind = own.kind, .stack = stack};
      classes[vendor] = {.name = vendor, .kind = own.kind, .vendor = own.vendor, .stack = stack};
    }
    if (row.group != without_group) usable.push_back(&row);
  }
  Fit fit(usable);
  fit.run();
  EfficiencyTable table;
  for (const auto& [name, group] : classes) table.classes.push_back(fit.of(group));
  if (table.classes.empty()) table.classes.push_back({.name = "all/tuned"});
  return table;
}

}  // namespace ferry::plan
