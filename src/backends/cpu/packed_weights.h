// Matrices repacked for the integer matmuls (packed_rows.h), in memory of their own.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
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

// What WeightView::packed of a weight that was imported to be packed points to. Its view's data
// stays what lies in the host's memory, for ops that look up rows, and until it is packed: it costs
// no memory where a file is mapped and nobody reads it.
struct PackedMatrix {
  const PackedFormat* format = nullptr;
  WeightView view;  // as it lies in the host's memory
  std::shared_ptr<const void> keep_alive;
  std::shared_ptr<uint8_t> memory;  // of the strips; empty: they are kept alive as well
  std::atomic<const uint8_t*> strips = nullptr;  // nullptr: not packed yet
};

// Strips of the matrix; nullptr: it is used where it lies.
inline const uint8_t* packed_strips(const WeightView& view) {
  if (view.data == nullptr || view.packed == nullptr) return nullptr;
  return static_cast<const PackedMatrix*>(view.packed)->strips.load(std::memory_order_acquire);
}

// A matrix that will be packed, with memory for its strips.
Result<std::shared_ptr<PackedMatrix>> prepare_packed(const HostWeight& weight,
                                                     const PackedFormat& format,
                                                     PackedMemory& memory);
// Packs all of it.
void pack(PackedMatrix& matrix, ThreadTeam& team);

// A matrix whose strips the weight brings along, where they lie.
// Errors: kInvalidInput, where these are not packed_bytes().
Result<std::shared_ptr<PackedMatrix>> packed_before(const HostWeight& weight,
                                                    const PackedFormat& format);

Weight weight_of(std::shared_ptr<PackedMatrix> matrix);

// Matrices that are used where they lie until there is time to pack them, first come, first packed.
// Those whose weight is gone are left out. Thread-safe.
class PackingQueue {
 public:
  void add(const std::shared_ptr<PackedMatrix>& matrix, std::function<void()> when_packed);
  // Packs for about so many seconds; returns the bytes of matrices that are not done.
  int64_t pack(double seconds, ThreadTeam& team);

 private:
  struct Entry {
    std::weak_ptr<PackedMatrix> matrix;
    std::function<void()> when_packed;
    int64_t bytes = 0;
    int64_t strips_done = 0;
  };
  std::mutex mutex_;
  std::deque<Entry> entries_;
};

}  // namespace ferry::cpu
