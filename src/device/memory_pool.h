// MemoryPool: keeps device memory that was given back, because asking a chip's runtime for memory
// takes long and giving it back may wait for all queues. What a chip shares with others is here;
// the runtime's own calls are behind RawMemory.
//
// Pieces of up to 1 MiB are rounded up to 512 bytes, larger ones to 2 MiB; a kept piece serves
// again if at most an eighth of it is wasted. When the runtime has no more, everything kept goes
// back to it and it is asked once again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "device/backend.h"

namespace ferry {

// The runtime of one device. Called by one thread at a time, which may be any.
class RawMemory {
 public:
  virtual ~RawMemory() = default;
  // kOutOfMemory says that there is no more; other errors are passed on as they are.
  virtual Result<void*> take(int64_t bytes) = 0;
  virtual void give_back(void* data) = 0;
  // Returns when no queue uses any memory that was let go of before the call.
  virtual void wait_idle() = 0;
  virtual Result<MemoryInfo> info() = 0;
};

// Thread-safe.
class MemoryPool : public std::enable_shared_from_this<MemoryPool> {
 public:
  // `name` of the backend, for messages.
  MemoryPool(std::string name, std::unique_ptr<RawMemory> raw);
  ~MemoryPool();

  // `owner` is let go after the memory. Errors: kOutOfMemory with what was asked for, what is free,
  // and what to change. REQUIRES: bytes >= 0
  Result<Buffer> allocate(int64_t bytes, std::shared_ptr<const void> owner);

  // What is free, what the pool keeps included.
  Result<MemoryInfo> info();

  // The size of the piece that allocate() would take for so many bytes.
  static int64_t piece_bytes(int64_t bytes);

 private:
  Result<void*> take(int64_t piece);
  void keep(void* data, int64_t piece);
  void empty();

  const std::string name_;
  std::mutex mutex_;
  std::unique_ptr<RawMemory> raw_;
  std::multimap<int64_t, void*> kept_;  // by size
  int64_t kept_bytes_ = 0;
  int64_t used_bytes_ = 0;
};

}  // namespace ferry
