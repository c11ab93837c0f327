// MemoryPool: see memory_pool.h.
#include "device/memory_pool.h"

#include <algorithm>

#include "base/checked_math.h"

namespace ferry {
namespace {

constexpr int64_t kSmall = int64_t{1} << 20;
constexpr int64_t kSmallStep = 512;
constexpr int64_t kLargeStep = int64_t{2} << 20;
constexpr int64_t kWasteDivisor = 8;

double mib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

MemoryPool::MemoryPool(std::string name, std::unique_ptr<RawMemory> raw)
    : name_(std::move(name)), raw_(std::move(raw)) {}

MemoryPool::~MemoryPool() { empty(); }

int64_t MemoryPool::piece_bytes(int64_t bytes) {
  const int64_t some = std::max<int64_t>(bytes, 1);
  return round_up(some, some <= kSmall ? kSmallStep : kLargeStep);
}

void MemoryPool::empty() {
  if (!kept_.empty()) raw_->wait_idle();
  for (const auto& [bytes, data] : kept_) raw_->give_back(data);
  kept_.clear();
  kept_bytes_ = 0;
}

Result<void*> MemoryPool::take(int64_t piece) {
  Result<void*> data = raw_->take(piece);
  if (data.ok() || data.error().kind != ErrorKind::kOutOfMemory || kept_.empty()) return data;
  empty();
  return raw_->take(piece);
}

Result<Buffer> MemoryPool::allocate(int64_t bytes, std::shared_ptr<const void> owner) {
  CHECK(bytes >= 0);
  const std::lock_guard lock(mutex_);
  int64_t piece = piece_bytes(bytes);
  void* data = nullptr;
  const auto found = kept_.lower_bound(piece);
  if (found != kept_.end() && found->first - piece <= found->first / kWasteDivisor) {
    raw_->wait_idle();  // who let go of it may have left work behind
    piece = found->first;
    data = found->second;
    kept_.erase(found);
    kept_bytes_ -= piece;
  } else {
    const Result<void*> taken = take(piece);
    if (!taken.ok() && taken.error().kind == ErrorKind::kOutOfMemory) {
      const auto now = raw_->info();
      const MemoryInfo info = now.ok() ? *now : MemoryInfo{};
      return out_of_memory(
          "{}: {:.1f} MiB of device memory asked for, {:.1f} MiB of {:.1f} MiB free, {:.1f} MiB "
          "taken by this program; a shorter --context, a narrower --kv-dtype, a smaller model or "
          "another --device needs less",
          name_, mib(bytes), mib(info.free_bytes), mib(info.total_bytes), mib(used_bytes_));
    }
    if (!taken.ok()) return taken.error();
    data = *taken;
  }
  used_bytes_ += piece;
  std::shared_ptr<void> memory(data, [self = shared_from_this(), owner = std::move(owner),
                                      piece](void* address) { self->keep(address, piece); });
  return Buffer{.owner = std::move(memory), .data = data, .bytes = bytes};
}

void MemoryPool::keep(void* data, int64_t piece) {
  const std::lock_guard lock(mutex_);
  kept_.emplace(piece, data);
  kept_bytes_ += piece;
  used_bytes_ -= piece;
}

Result<MemoryInfo> MemoryPool::info() {
  const std::lock_guard lock(mutex_);
  FERRY_TRY(MemoryInfo info, raw_->info());
  info.free_bytes += kept_bytes_;
  return info;
}

}  // namespace ferry
