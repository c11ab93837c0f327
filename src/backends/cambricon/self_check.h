// Every operation that the backend is built from, tried on a few numbers when a device is opened.
// Some of the vendor's constants are not public (vendor.h), and a wrong one would not fail: it
// would give garbage. A wrong operation that the backend can't do without is an error that names
// it; one with a fall-back is no longer used.
#pragma once

#include "backends/cambricon/calls.h"
#include "backends/cambricon/paths.h"

namespace ferry::cambricon {

// Takes out of `paths` what gives wrong results. Errors: kDevice.
Status check_operations(const std::shared_ptr<Device>& device, Paths& paths);

}  // namespace ferry::cambricon
