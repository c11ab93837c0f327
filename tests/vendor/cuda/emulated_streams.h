// What the emulated libnccl.so.2 needs to know of the emulated driver's streams.
#pragma once

#include "backends/cuda/driver_api.h"
#include "vendor/common/emulated.h"

namespace emulated {

// Of the context that the calling thread has chosen; −1: none.
int cuda_device();
Memory& cuda_memory(int device);
// nullptr unless the stream belongs to that context.
TaskQueue* cuda_queue(ferry::cuda::DriverStream stream);
// Into the stream's queue, or into what is captured of it, as a launch would be: a status of the
// driver.
int cuda_enqueue(ferry::cuda::DriverStream stream, std::function<int()> task);

}  // namespace emulated
