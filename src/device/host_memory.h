// Host memory as device memory: what every backend that computes on the host shares.
#pragma once

#include "device/backend.h"

namespace ferry {

// Physical memory, and what of it could be had now; the limit of the control group counts.
MemoryInfo host_memory_info();

// Page-aligned memory (so that vector loads and huge pages like it); contents are undefined.
// `owner` is let go after the memory. kOutOfMemory when it is more than what is free.
Result<Buffer> allocate_host_memory(int64_t bytes, std::shared_ptr<const void> owner);

// A view of the weight where it lies. REQUIRES: sizes of data and scale agree with the shape
Weight weight_in_place(const HostWeight& weight);

}  // namespace ferry
