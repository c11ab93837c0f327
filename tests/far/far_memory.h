// FarMemory: memory that the host may not touch. Every allocation stands alone between two guard
// pages, ends on the last of them, is filled with noise, and has no access rights at all except
// while an Access is alive: what a chip behind a bus looks like to its host.
//
//   [guard page][ noise … | data, ends here ][guard page]
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "device/backend.h"

namespace ferry::far {

class FarMemory : public std::enable_shared_from_this<FarMemory> {
 public:
  explicit FarMemory(int64_t total_bytes) : total_bytes_(total_bytes) {}
  ~FarMemory();

  // `owner` is let go after the memory.
  Result<Buffer> allocate(int64_t bytes, std::shared_ptr<void> owner);
  MemoryInfo info() const;

  // Whether [data, data + bytes) lies inside one allocation.
  bool holds(const void* data, int64_t bytes) const;

  // While one lives, all allocations can be read and written by this process. They nest.
  class Access {
   public:
    explicit Access(FarMemory& memory);
    ~Access();
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;

   private:
    FarMemory& memory_;
    std::lock_guard<std::recursive_mutex> lock_;
  };

  // Held while queues are read, written or run: streams run each other's work.
  std::recursive_mutex& mutex() const { return mutex_; }

 private:
  struct Piece {
    char* mapping;         // with guards
    int64_t mapped_bytes;  // without guards
    int64_t bytes;         // of data, as asked for
  };

  void protect(int rights) const;
  void release(char* data);

  mutable std::recursive_mutex mutex_;
  std::map<char*, Piece> pieces_;  // by address of data
  int64_t total_bytes_;
  int64_t used_bytes_ = 0;
  int open_ = 0;  // Accesses alive
  uint64_t noise_ = 0;
};

}  // namespace ferry::far
