// Rotary position tables: the frequencies of every scaling rule ferry knows, in double, and the
// cosine/sine table the rope op reads. MODELS §1.3–1.5; Su et al. 2021, Peng et al. 2023 (YaRN).
#pragma once

#include <cstdint>
#include <vector>

#include "nn/model_spec.h"

namespace ferry::nn {

// ω_i for i in [0, dim/2).
// REQUIRES: spec.dim even and positive; no frequency_factors, or dim/2 of them
std::vector<double> rope_frequencies(const RopeSpec& spec);

// [num_positions, dim]: dim/2 cosines, then dim/2 sines, times spec.amplitude.
std::vector<float> rope_table(const RopeSpec& spec, int64_t num_positions);

// g(f, m) = 0.1 · m · ln f + 1 for f > 1 and m ≠ 0, else 1: what YaRN multiplies by.
double yarn_multiplier(double factor, double mscale);

}  // namespace ferry::nn
