// The far backend: the reference behind everything that makes a chip different from a CPU. For
// tests only: a model or an engine that gives the same results on it as on the reference keeps the
// contract of the seam (device/backend.h, device/ops.h, device/batch.h).
//
//   - the host can't touch its memory: reading or writing it faults (far_memory.h)
//   - nothing runs when it is called: copies and ops wait in a queue until the stream is
//     synchronised, or another stream that waits for an event of this one is
//   - fresh memory is full of noise, and so is the target of a copy_out until it is synchronised
//   - weights are copied; the host's copy may be gone afterwards
//
// Breaches come out of synchronize() as the stream's error, naming the op: host memory that changed
// between call and run, batch arrays that differ between host and device, tensors or weights that
// don't lie in device memory.
#pragma once

#include <memory>

#include "device/backend.h"

namespace ferry::far {

struct FarOptions {
  int64_t memory_bytes = int64_t{16} << 30;  // allocate() fails beyond
};

std::shared_ptr<Backend> make_far_backend(const FarOptions& options = {});

}  // namespace ferry::far
