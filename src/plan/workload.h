// Workloads: how long prompts and answers are and how they arrive. Presets from statistics of
// public traces; log-normal lengths, cut at what the service allowed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ferry::plan {

// exp(N(mu, sigma²)), cut to [1, cap].
struct LengthDistribution {
  double mu = 0;
  double sigma = 0;
  double cap = 0;
  double mean() const;  // of the cut distribution
};

struct WorkloadPreset {
  std::string_view name;
  std::string_view basis;
  LengthDistribution input;
  LengthDistribution output;
  double cached = 0;      // share of prompts that a prefix cache has
  double arrival_cv = 1;  // of the times between arrivals; 1: Poisson
  double input_mean() const { return input.mean(); }
  double output_mean() const { return output.mean(); }
};

const std::vector<WorkloadPreset>& workload_presets();
// Error: kNotFound with the names there are.
Result<WorkloadPreset> find_workload(std::string_view name);

}  // namespace ferry::plan
