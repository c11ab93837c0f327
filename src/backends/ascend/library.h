// Finding CANN's libraries at run time, and saying in one line what is wrong with a machine.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "backends/ascend/vendor.h"
#include "base/result.h"

namespace ferry::ascend {

// Looked for in $ASCEND_HOME_PATH/lib64 (or $ASCEND_TOOLKIT_HOME/lib64) if that is set, otherwise
// where the loader looks and in /usr/local/Ascend/ascend-toolkit/latest/lib64. nullptr, and why, if
// it isn't there. Never closed again: streams and buffers may live until the process ends.
void* open_library(const std::string& name, std::string* why);

// Opens libascendcl.so, libnnopbase.so and the libraries of operators. An operator is taken from
// the first of these that has it: custom ones ($ASCEND_CUSTOM_OPP_PATH), libopapi_*.so,
// libopapi.so, libaclnn_*.so. Errors: kNotFound (library), kUnsupported (symbol, named).
Result<std::shared_ptr<const Vendor>> load_vendor();

// What a status that is not success means for the user, and what to do about it.
Error acl_error(const Vendor& vendor, std::string_view call, int status);
Error aclnn_error(const Vendor& vendor, std::string_view call, int status);

}  // namespace ferry::ascend
