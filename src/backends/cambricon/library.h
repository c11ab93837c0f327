// Finding Cambricon's libraries at run time, and saying in one line what is wrong with a machine.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "backends/cambricon/vendor.h"
#include "base/result.h"

namespace ferry::cambricon {

// Looked for in $NEUWARE_HOME/lib64 if that is set, otherwise where the loader looks and in
// /usr/local/neuware/lib64. nullptr, and why, if it isn't there. Never closed again: streams and
// buffers may live until the process ends.
void* open_library(const std::string& name, std::string* why);

// Opens libcnrt.so and libcnnl.so, and libcnnl_extra.so where there is such. Errors: kNotFound
// (library), kUnsupported (symbol, named).
Result<std::shared_ptr<const Vendor>> load_vendor();

// What a status of CNRT or CNNL that is not success means for the user, and what to do about it.
Error cnrt_error(const Vendor& vendor, std::string_view call, int status);
Error cnnl_error(const Vendor& vendor, std::string_view call, int status);

std::string version_text(const Vendor::Version& version);

}  // namespace ferry::cambricon
