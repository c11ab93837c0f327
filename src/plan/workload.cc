// See workload.h.
#include "plan/workload.h"

#include <cmath>

#include "base/quote_name.h"
#include "plan/catalogue.h"

namespace ferry::plan {
namespace {

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

}  // namespace

double LengthDistribution::mean() const {
  if (sigma == 0) return std::exp(mu);
  const double z = (std::log(cap) - mu) / sigma;
  return std::exp(mu + sigma * sigma / 2) * normal_cdf(z - sigma) + cap * (1 - normal_cdf(z));
}

const std::vector<WorkloadPreset>& workload_presets() {
  static const std::vector<WorkloadPreset> presets = {
      {"chat",
       "Azure LLM inference trace 2023, conversation (CC-BY-4.0)",
       {6.633, 0.985, 14050},
       {5.019, 0.859, 1000},
       0,
       1.09},
      {"code",
       "Azure LLM inference trace 2023, code (CC-BY-4.0)",
       {6.999, 1.360, 7437},
       {2.788, 0.847, 1899},
       0,
       13.15},
      {"long-chat",
       "Mooncake conversation trace (Apache-2.0)",
       {8.737, 1.199, 126195},
       {5.336, 1.358, 2000},
       0.366,
       1},
      {"agent",
       "Codex traces: 12K to 80K tokens, 2.2K a turn",
       {10.5, 0.5, 80000},
       {7.0, 0.5, 4000},
       0.922,
       1},
      {"reasoning",
       "DeepSeek's day of 2025-02: in : out 3.6 : 1, mean context 4,989; the lengths "
       "are assumed",
       {8.2, 0.5, 32000},
       {6.9, 0.6, 16000},
       0.563,
       1},
  };
  return presets;
}

Result<WorkloadPreset> find_workload(std::string_view name) {
  std::string names;
  for (const WorkloadPreset& preset : workload_presets()) {
    if (same_name(preset.name, name)) return preset;
    names += (names.empty() ? "" : ", ") + std::string(preset.name);
  }
  return not_found("workload {}: not known; known are {}", quote_name(name, 40), names);
}

}  // namespace ferry::plan
