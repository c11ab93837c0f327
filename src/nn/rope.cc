// See rope.h.
#include "nn/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace ferry::nn {
namespace {

// Frequencies that turn fast stay as they are, slow ones are stretched by the factor, with a linear
// ramp between the two correction dimensions.
void scale_yarn(const RopeSpec& spec, std::vector<double>& frequencies) {
  const auto correction_dim = [&](double rotations) {
    const double original = static_cast<double>(spec.original_max_position_embeddings);
    return static_cast<double>(spec.dim) *
           std::log(original / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(spec.theta));
  };
  const double low = std::max(std::floor(correction_dim(spec.beta_fast)), 0.0);
  double high =
      std::min(std::ceil(correction_dim(spec.beta_slow)), static_cast<double>(spec.dim - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / spec.factor * ramp + frequencies[i] * (1.0 - ramp);
  }
}

// By wavelength: short ones stay, long ones are stretched, those between are blended.
void scale_llama3(const RopeSpec& spec, std::vector<double>& frequencies) {
  const double original = static_cast<double>(spec.original_max_position_embeddings);
  for (double& frequency : frequencies) {
    const double wavelength = 2.0 * std::numbers::pi / frequency;
    if (wavelength < original / spec.high_freq_factor) continue;
    if (wavelength > original / spec.low_freq_factor) {
      frequency /= spec.factor;
      continue;
    }
    const double smooth = (original / wavelength - spec.low_freq_factor) /
                          (spec.high_freq_factor - spec.low_freq_factor);
    frequency = (1.0 - smooth) * frequency / spec.factor + smooth * frequency;
  }
}

}  // namespace

double yarn_multiplier(double factor, double mscale) {
  return factor > 1.0 && mscale != 0.0 ? 0.1 * mscale * std::log(factor) + 1.0 : 1.0;
}

std::vector<double> rope_frequencies(const RopeSpec& spec) {
  CHECK(spec.dim > 0 && spec.dim % 2 == 0);
  const std::vector<float>& factors = spec.frequency_factors;
  CHECK(factors.empty() || static_cast<int64_t>(factors.size()) == spec.dim / 2);
  std::vector<double> frequencies(static_cast<size_t>(spec.dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(spec.dim);
    frequencies[i] = std::pow(spec.theta, exponent);
  }
  switch (spec.scaling) {
    case RopeScaling::kNone: break;
    case RopeScaling::kLinear:
      for (double& frequency : frequencies) frequency /= spec.factor;
      break;
    case RopeScaling::kYarn: scale_yarn(spec, frequencies); break;
    case RopeScaling::kLlama3: scale_llama3(spec, frequencies); break;
  }
  for (size_t i = 0; i < factors.size(); ++i) frequencies[i] /= static_cast<double>(factors[i]);
  return frequencies;
}

std::vector<float> rope_table(const RopeSpec& spec, int64_t num_positions) {
  const std::vector<double> frequencies = rope_frequencies(spec);
  const size_t half = frequencies.size();
  std::vector<float> table(static_cast<size_t>(num_positions) * half * 2);
  for (int64_t position = 0; position < num_positions; ++position) {
    float* row = table.data() + static_cast<size_t>(position) * half * 2;
    for (size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      row[i] = static_cast<float>(std::cos(angle) * spec.amplitude);
      row[half + i] = static_cast<float>(std::sin(angle) * spec.amplitude);
    }
  }
  return table;
}

}  // namespace ferry::nn
