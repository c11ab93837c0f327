// Which way each op goes with the libraries that were found: a fused operator of CANN, a composite
// of several, or, as the last resort, a round trip to the host, where the reference computes it.
#pragma once

#include <string>

#include "backends/ascend/device.h"
#include "device/composed/stream.h"
#include "device/ops.h"

namespace ferry::ascend {

struct Paths {
  composed::ComposedPaths composed;  // check_primitives() takes out what gives wrong results
  bool fused_gate = false;           // aclnnMoeGatingTopK
  bool grouped = false;              // aclnnGroupedMatmulV5 or V4

  // By the symbols that are there, and by what products of f32 are (Soc).
  Paths(const Vendor& vendor, bool exact_f32);
  // One line for people: what runs, and why if that is a fall-back.
  std::string describe(const Vendor& vendor, Op op) const;
};

}  // namespace ferry::ascend
