// What a machine's own kernels take, as `ferry plan --calibrate-here` measures them. Where a chip
// has this, the speed model goes by it instead of by peaks and fitted parameters.
//
// Layout ("measured" of a chip in a catalogue file): times are nanoseconds for a million weights,
// at each number of tokens that share them; "experts" counts the tokens of one expert. "hidden" is
// the width of the layers whose matrices were measured: small matrices take longer by the weight.
//   {"matmul": [{"format": "Q4_0", "hidden": 2048, "tokens": [1, 8, 512],
//                "ns": [16000, 21000, 980000]}],
//    "experts": [… the same …], "gqa_prefill_gops": 500, "gqa_decode_gops": 50,
//    "mla_prefill_gops": 550, "mla_decode_gops": 160, "element_ns": 0.2, "layer_us": 20,
//    "pass_us": 100}
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace ferry::plan {

constexpr double kUsualHidden = 2048;  // where a file does not say

struct KernelTimes {
  std::string format;
  double hidden = kUsualHidden;
  std::vector<double> tokens;  // ascending, from 1
  std::vector<double> ns;      // of a million weights, at each of them

  // Straight between two of them; beyond the last in proportion. REQUIRES: tokens is not empty
  double at(double count) const;
};

struct MeasuredKernels {
  std::vector<KernelTimes> matmul;
  std::vector<KernelTimes> experts;
  double gqa_prefill_gops = 1, gqa_decode_gops = 1;  // 10⁹ operations/s
  double mla_prefill_gops = 1, mla_decode_gops = 1;
  double element_ns = 1;  // of what lies between products, per element they read or write
  double layer_us = 1;    // whatever the number of tokens
  double pass_us = 1;

  // Of the layers whose width is nearest to `hidden`, as a ratio. Error: kUnsupported with what was
  // measured.
  static Result<const KernelTimes*> find(const std::vector<KernelTimes>& times,
                                         std::string_view format, double hidden);
};

// Errors name the key.
Result<MeasuredKernels> read_measured(const Json& json);
Json measured_to_json(const MeasuredKernels& measured);

}  // namespace ferry::plan
