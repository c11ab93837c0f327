// Memory that the host can't touch, and the settings: see emulated.h.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "vendor/common/emulated.h"

namespace emulated {
namespace {

constexpr int64_t kPage = 4096;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::abort();
}

std::atomic<int64_t> taken_bytes = 0, most_taken_bytes = 0;

void count_taken(int64_t bytes) {
  const int64_t now = taken_bytes += bytes;
  int64_t most = most_taken_bytes;
  while (now > most && !most_taken_bytes.compare_exchange_weak(most, now)) {
  }
}

int64_t pages(int64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int64_t setting(const char* name, int64_t otherwise) {
  const std::string value = setting(name);
  return value.empty() ? otherwise : std::strtoll(value.c_str(), nullptr, 10);
}

bool is_wrong(const char* function) { return setting("FERRY_EMULATED_WRONG") == function; }

Memory::Memory(int64_t total_bytes) : total_bytes_(pages(total_bytes)) {
  // Pages exist once they are written; twice the addresses, so that pieces can stand apart.
  const auto size = static_cast<size_t>(2 * total_bytes_);
  file_ = memfd_create("emulated device", MFD_CLOEXEC);
  if (file_ < 0 || ftruncate(file_, static_cast<off_t>(size)) != 0) die("memfd");
  void* outside = mmap(nullptr, size, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file_, 0);
  void* inside = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file_, 0);
  if (outside == MAP_FAILED || inside == MAP_FAILED) die("mmap");
  outside_ = static_cast<char*>(outside);
  inside_ = static_cast<char*>(inside);
}

Memory::~Memory() {
  munmap(outside_, static_cast<size_t>(2 * total_bytes_));
  munmap(inside_, static_cast<size_t>(2 * total_bytes_));
  close(file_);
}

void* Memory::take(int64_t bytes) {
  if (bytes <= 0) return nullptr;
  const std::lock_guard lock(mutex_);
  if (used_bytes_ + pages(bytes) > total_bytes_) return nullptr;
  int64_t offset = kPage;
  for (const auto& [begin, taken] : pieces_) {
    if (begin - offset >= pages(bytes) + kPage) break;
    offset = begin + pages(taken) + kPage;
  }
  if (offset + pages(bytes) > 2 * total_bytes_) return nullptr;
  pieces_[offset] = bytes;
  count_taken(bytes);
  used_bytes_ += pages(bytes);
  std::memset(inside_ + offset, 0xFF, static_cast<size_t>(bytes));
  return outside_ + offset;
}

bool Memory::give_back(void* data) {
  const std::lock_guard lock(mutex_);
  const auto piece = pieces_.find(static_cast<char*>(data) - outside_);
  if (piece == pieces_.end()) return false;
  fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, piece->first, pages(piece->second));
  used_bytes_ -= pages(piece->second);
  count_taken(-piece->second);
  pieces_.erase(piece);
  return true;
}

bool Memory::is_device(const void* data) const {
  const char* address = static_cast<const char*>(data);
  return address >= outside_ && address < outside_ + 2 * total_bytes_;
}

const char* Memory::outside(const void* inside) const {
  const char* address = static_cast<const char*>(inside);
  const bool ours = address >= inside_ && address < inside_ + 2 * total_bytes_;
  return ours ? outside_ + (address - inside_) : nullptr;
}

bool Memory::piece_of(const void* data, const char** begin, const char** end) const {
  if (!is_device(data)) return false;
  const std::lock_guard lock(mutex_);
  auto piece = pieces_.upper_bound(static_cast<const char*>(data) - outside_);
  if (piece == pieces_.begin()) return false;
  --piece;
  *begin = outside_ + piece->first;
  *end = *begin + piece->second;
  return static_cast<const char*>(data) < *end;
}

bool Memory::holds(const void* data, int64_t bytes) const {
  const char* begin = nullptr;
  const char* end = nullptr;
  if (!piece_of(data, &begin, &end)) return false;
  return static_cast<const char*>(data) + bytes <= end;
}

int64_t Memory::free_bytes() const {
  const std::lock_guard lock(mutex_);
  return total_bytes_ - used_bytes_;
}

extern "C" int64_t ferry_emulated_taken_bytes() { return taken_bytes; }
extern "C" int64_t ferry_emulated_most_taken_bytes() { return most_taken_bytes; }

}  // namespace emulated
