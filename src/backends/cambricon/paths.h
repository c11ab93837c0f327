// Which way each op goes with the libraries that were found: a fused operation of CNNL, a composite
// of several, or, as the last resort, a round trip to the host, where the reference computes it.
#pragma once

#include <string>

#include "backends/cambricon/vendor.h"
#include "device/composed/stream.h"
#include "device/ops.h"

namespace ferry::cambricon {

// By the symbols that are there; check_primitives() takes out what gives wrong results.
composed::ComposedPaths paths_of(const Vendor& vendor);

// One line for people: what runs, and why if that is a fall-back.
std::string describe(const composed::ComposedPaths& paths, Op op);

}  // namespace ferry::cambricon
