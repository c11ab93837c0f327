// FarMemory: see far_memory.h.
#include "far/far_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/checked_math.h"
#include "device/conformance/data.h"

namespace ferry::far {
namespace {

constexpr int64_t kPage = 4096;
constexpr int64_t kAlignment = 64;

}  // namespace

FarMemory::~FarMemory() { CHECK(pieces_.empty()); }

Result<Buffer> FarMemory::allocate(int64_t bytes, std::shared_ptr<void> owner) {
  CHECK(bytes >= 0);
  const std::lock_guard lock(mutex_);
  const int64_t taken = round_up(std::max<int64_t>(bytes, 1), kAlignment);
  if (taken > total_bytes_ - used_bytes_) {
    return out_of_memory("far: {} bytes asked for, {} free", bytes, total_bytes_ - used_bytes_);
  }
  const int64_t mapped = round_up(taken, kPage);
  void* mapping = mmap(nullptr, static_cast<size_t>(mapped + 2 * kPage), PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return out_of_memory("far: the host refused {} bytes", bytes);
  char* first = static_cast<char*>(mapping) + kPage;
  char* data = first + mapped - taken;

  CHECK(mprotect(first, static_cast<size_t>(mapped), PROT_READ | PROT_WRITE) == 0);
  Random random(++noise_);
  std::vector<uint64_t> page(kPage / sizeof(uint64_t));
  for (uint64_t& word : page) word = random.bits();
  for (int64_t at = 0; at < mapped; at += kPage) std::memcpy(first + at, page.data(), kPage);
  if (open_ == 0) CHECK(mprotect(first, static_cast<size_t>(mapped), PROT_NONE) == 0);

  pieces_[data] = {static_cast<char*>(mapping), mapped, bytes};
  used_bytes_ += taken;
  std::shared_ptr<void> memory(
      data, [self = shared_from_this(), owner = std::move(owner)](void* address) {
        self->release(static_cast<char*>(address));
      });
  return Buffer{.owner = std::move(memory), .data = data, .bytes = bytes};
}

void FarMemory::release(char* data) {
  const std::lock_guard lock(mutex_);
  const auto piece = pieces_.find(data);
  CHECK(piece != pieces_.end());
  used_bytes_ -= round_up(std::max<int64_t>(piece->second.bytes, 1), kAlignment);
  munmap(piece->second.mapping, static_cast<size_t>(piece->second.mapped_bytes + 2 * kPage));
  pieces_.erase(piece);
}

MemoryInfo FarMemory::info() const {
  const std::lock_guard lock(mutex_);
  return {.total_bytes = total_bytes_, .free_bytes = total_bytes_ - used_bytes_};
}

bool FarMemory::holds(const void* data, int64_t bytes) const {
  const std::lock_guard lock(mutex_);
  char* address = const_cast<char*>(static_cast<const char*>(data));
  auto piece = pieces_.upper_bound(address);
  if (piece == pieces_.begin()) return false;
  --piece;
  return address + bytes <= piece->first + piece->second.bytes;
}

void FarMemory::protect(int rights) const {
  for (const auto& [data, piece] : pieces_) {
    CHECK(mprotect(piece.mapping + kPage, static_cast<size_t>(piece.mapped_bytes), rights) == 0);
  }
}

FarMemory::Access::Access(FarMemory& memory) : memory_(memory), lock_(memory.mutex_) {
  if (memory_.open_++ == 0) memory_.protect(PROT_READ | PROT_WRITE);
}

FarMemory::Access::~Access() {
  if (--memory_.open_ == 0) memory_.protect(PROT_NONE);
}

}  // namespace ferry::far
