// Which way each op goes with the libraries that were found: a fused operation of CNNL, a composite
// of several, or, as the last resort, a round trip to the host, where the reference computes it.
#pragma once

#include <string>

#include "backends/cambricon/vendor.h"
#include "device/ops.h"

namespace ferry::cambricon {

struct Paths {
  bool fuse_norm = false;    // rms_norm, add_rms_norm: otherwise on the host
  bool layer_norm = false;   // otherwise on the host
  bool device_gate = false;  // moe_gate by softmax or sigmoid: otherwise on the host

  // By the symbols that are there; check_operations() takes out what gives wrong results.
  explicit Paths(const Vendor& vendor);
  // One line for people: what runs, and why if that is a fall-back.
  std::string describe(Op op) const;
};

}  // namespace ferry::cambricon
