#include "backends/cpu/packed_weights.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/checked_math.h"
#include "device/host_memory.h"

namespace ferry::cpu {
namespace {

// Of which what is not used yet is not in memory either.
constexpr int64_t kPieceBytes = 256 << 20;
constexpr int64_t kStripsOfATask = 4;
// Of each thread, between two looks at the clock: a millisecond or so.
constexpr int64_t kSliceBytes = 1 << 20;

int64_t num_strips(const PackedMatrix& matrix) { return ceil_div(matrix.view.rows, kPackedRows); }

std::shared_ptr<PackedMatrix> matrix_without_strips(const HostWeight& weight,
                                                    const PackedFormat& format) {
  auto matrix = std::make_shared<PackedMatrix>();
  matrix->format = &format;
  matrix->view = weight_in_place(weight).view;
  matrix->keep_alive = weight.keep_alive;
  return matrix;
}

// Strips [first, last) by all of the team.
void pack_strips(PackedMatrix& matrix, int64_t first, int64_t last, ThreadTeam& team) {
  const WeightView& view = matrix.view;
  const auto* const rows = static_cast<const uint8_t*>(view.data);
  auto pack_some = [&](int64_t begin, int64_t end, int) {
    for (int64_t s = first + begin; s < first + end; ++s) {
      const int64_t offset = s * kPackedRows * view.row_bytes;
      matrix.format->pack_strip({.rows = rows + offset,
                                 .row_bytes = view.row_bytes,
                                 .cols = view.cols,
                                 .count = std::min(kPackedRows, view.rows - s * kPackedRows),
                                 .out = matrix.memory.get() + offset});
    }
  };
  team.parallel_for(last - first, kStripsOfATask, pack_some);
}

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

Result<std::shared_ptr<PackedMatrix>> prepare_packed(const HostWeight& weight,
                                                     const PackedFormat& format,
                                                     PackedMemory& memory) {
  auto matrix = matrix_without_strips(weight, format);
  FERRY_TRY(matrix->memory, memory.take(packed_bytes(weight)));
  return matrix;
}

void pack(PackedMatrix& matrix, ThreadTeam& team) {
  pack_strips(matrix, 0, num_strips(matrix), team);
  matrix.strips.store(matrix.memory.get(), std::memory_order_release);
}

Result<std::shared_ptr<PackedMatrix>> packed_before(const HostWeight& weight,
                                                    const PackedFormat& format) {
  if (std::ssize(weight.packed) != packed_bytes(weight)) {
    return invalid_input("cpu: a packed weight of {} bytes, expected {}", weight.packed.size(),
                         packed_bytes(weight));
  }
  auto matrix = matrix_without_strips(weight, format);
  matrix->strips = weight.packed.data();
  return matrix;
}

Weight weight_of(std::shared_ptr<PackedMatrix> matrix) {
  Weight weight{.view = matrix->view};
  weight.view.packed = matrix.get();
  weight.storage = std::move(matrix);
  return weight;
}

void PackingQueue::add(const std::shared_ptr<PackedMatrix>& matrix,
                       std::function<void()> when_packed) {
  const int64_t bytes = num_strips(*matrix) * kPackedRows * matrix->view.row_bytes;
  const std::lock_guard lock(mutex_);
  entries_.push_back({matrix, std::move(when_packed), bytes});
}

int64_t PackingQueue::pack(double seconds, ThreadTeam& team) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(seconds);
  const std::lock_guard lock(mutex_);
  // At least one slice, or very short calls would never end.
  for (bool more = seconds > 0; more && !entries_.empty(); more = Clock::now() < until) {
    Entry& entry = entries_.front();
    const std::shared_ptr<PackedMatrix> matrix = entry.matrix.lock();
    if (matrix != nullptr) {
      const int64_t strip_bytes = kPackedRows * matrix->view.row_bytes;
      const int64_t slice = std::max<int64_t>(kSliceBytes / strip_bytes, 1) * team.size();
      const int64_t end = std::min(entry.strips_done + slice, num_strips(*matrix));
      pack_strips(*matrix, entry.strips_done, end, team);
      entry.strips_done = end;
      if (end < num_strips(*matrix)) continue;
      matrix->strips.store(matrix->memory.get(), std::memory_order_release);
      if (entry.when_packed) entry.when_packed();
    }
    entries_.pop_front();
  }
  int64_t left = 0;
  for (const Entry& entry : entries_) {
    if (!entry.matrix.expired()) left += entry.bytes;
  }
  return left;
}

}  // namespace ferry::cpu
