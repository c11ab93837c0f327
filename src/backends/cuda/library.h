// Finding NVIDIA's driver at run time, and saying in one line what is wrong with a machine.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "backends/cuda/driver_api.h"
#include "base/result.h"

namespace ferry::cuda {

// Opens libcuda.so.1, in $FERRY_CUDA_DRIVER (a folder) if that is set, otherwise where the loader
// looks, and initialises it. Errors: what is missing, too old, not permitted, or that there is no
// device. Thread-safe.
Result<std::shared_ptr<const Driver>> load_driver();

// What a call of the driver that didn't succeed means for the user.
Error driver_error(const Driver& driver, std::string_view call, int status);

// "13.0"
std::string cuda_version_text(int version);

}  // namespace ferry::cuda
