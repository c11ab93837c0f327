// Finding Cambricon's libraries at run time, and saying in one line what is wrong with a machine.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "backends/cambricon/vendor.h"
#include "base/result.h"

namespace ferry::cambricon {

// Opens libcnrt.so and libcnnl.so, and libcnnl_extra.so and libcncl.so where there are such. Looked
// for in $NEUWARE_HOME/lib64 if that is set, otherwise where the loader looks and in
// /usr/local/neuware/lib64. Errors: kNotFound (library), kUnsupported (symbol, named).
Result<std::shared_ptr<const Vendor>> load_vendor();

// What a status of CNRT or CNNL that is not success means for the user, and what to do about it.
Error cnrt_error(const Vendor& vendor, std::string_view call, int status);
Error cnnl_error(const Vendor& vendor, std::string_view call, int status);

std::string version_text(const Vendor::Version& version);

}  // namespace ferry::cambricon
