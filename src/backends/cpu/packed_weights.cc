#include "backends/cpu/packed_weights.h"

#include <sys/mman.h>

#include <algorithm>

#include "base/checked_math.h"
#include "device/host_memory.h"

namespace ferry::cpu {
namespace {

// Of which what is not used yet is not in memory either.
constexpr int64_t kPieceBytes = 256 << 20;
constexpr int64_t kStripsOfATask = 4;

}  // namespace

int64_t packed_bytes(const HostWeight& weight) {
  return round_up(weight.rows, kPackedRows) * weight.format->bytes_for(weight.cols);
}

Result<std::shared_ptr<uint8_t>> PackedMemory::take(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (used_ + bytes > size_) {
    const int64_t size = std::max(bytes, std::min(kPieceBytes, host_memory_info().free_bytes));
    FERRY_TRY(const Buffer buffer, allocate_host_memory(size, nullptr));
    // Only advice: small pages do as well, a little slower.
    static_cast<void>(madvise(buffer.data, static_cast<size_t>(size), MADV_HUGEPAGE));
    piece_ = std::shared_ptr<uint8_t>(buffer.owner, static_cast<uint8_t*>(buffer.data));
    size_ = size;
    used_ = 0;
  }
  std::shared_ptr<uint8_t> part(piece_, piece_.get() + used_);
  used_ += round_up(bytes, 64);
  return part;
}

Result<Weight> pack_weight(const HostWeight& weight, const PackedFormat& format,
                           PackedMemory& memory, ThreadTeam& team) {
  Weight packed = weight_in_place(weight);
  FERRY_TRY(const std::shared_ptr<uint8_t> strips, memory.take(packed_bytes(weight)));
  const WeightView& view = packed.view;
  const auto* const rows = static_cast<const uint8_t*>(view.data);
  team.parallel_for(
      ceil_div(view.rows, kPackedRows), kStripsOfATask, [&](int64_t begin, int64_t end, int) {
        for (int64_t s = begin; s < end; ++s) {
          const int64_t offset = s * kPackedRows * view.row_bytes;
          format.pack_strip({.rows = rows + offset,
                             .row_bytes = view.row_bytes,
                             .cols = view.cols,
                             .count = std::min(kPackedRows, view.rows - s * kPackedRows),
                             .out = strips.get() + offset});
        }
      });
  using Both = std::pair<std::shared_ptr<const void>, std::shared_ptr<const void>>;
  packed.view.packed = strips.get();
  packed.storage = std::make_shared<Both>(strips, weight.keep_alive);
  return packed;
}

Result<Weight> weight_packed_before(const HostWeight& weight) {
  if (std::ssize(weight.packed) != packed_bytes(weight)) {
    return invalid_input("cpu: a packed weight of {} bytes, expected {}", weight.packed.size(),
                         packed_bytes(weight));
  }
  Weight packed = weight_in_place(weight);
  packed.view.packed = weight.packed.data();
  return packed;
}

}  // namespace ferry::cpu
