// Matrices repacked for the integer matmuls (packed_rows.h), in memory of their own.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "backends/cpu/int_kernels.h"
#include "base/thread_team.h"
#include "device/weight.h"

namespace ferry::cpu {

// Bytes that a packed matrix takes.
int64_t packed_bytes(const HostWeight& weight);

// Memory for packed matrices, taken in large pieces on huge pages: a walk through gigabytes of
// weights needs few entries of the TLB then, and the pieces of one layer lie together. Thread-safe.
class PackedMemory {
 public:
  // Not filled; aligned to 64 bytes. Errors: kOutOfMemory.
  Result<std::shared_ptr<uint8_t>> take(int64_t bytes);

 private:
  std::mutex mutex_;
  std::shared_ptr<uint8_t> piece_;
  int64_t size_ = 0, used_ = 0;
};

// The weight packed by all of the team. What lies in the host's memory stays the view's data, for
// ops that look up rows: it costs no memory where a file is mapped and nobody reads it.
Result<Weight> pack_weight(const HostWeight& weight, const PackedFormat& format,
                           PackedMemory& memory, ThreadTeam& team);

// The weight with the strips that it brings along, where they lie.
// Errors: kInvalidInput, where these are not packed_bytes().
Result<Weight> weight_packed_before(const HostWeight& weight);

// Strips of the matrix; nullptr: it is used where it lies.
inline const uint8_t* packed_strips(const WeightView& view) {
  return view.data == nullptr ? nullptr : static_cast<const uint8_t*>(view.packed);
}

}  // namespace ferry::cpu
