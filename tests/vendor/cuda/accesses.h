// What the threads of one launch did to memory, byte by byte: which accesses nothing orders, as
// compute-sanitizer's racecheck and initcheck look for them. Stricter than these: shuffles order no
// memory, as CUDA promises none, and global memory is watched too.
//
// Ordered are accesses of one thread, and those of one block with a barrier of the block in
// between. Any two others to the same byte are a race if one of them writes, unless both are
// atomic.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

namespace emulated::simt {

enum class Access { kRead, kWrite, kAtomic };

// Not thread-safe: of one thread of the host that launches.
class Accesses {
 public:
  void begin_launch();
  void begin_block();     // shared memory is fresh
  void begin_interval();  // all threads of the block have come to a barrier

  // What is wrong with this access by `thread` of the block; nullptr: nothing.
  const char* note(int thread, const void* address, int bytes, Access access, bool is_shared);

 private:
  // Who did it last, and when: intervals are counted through the launch; 0 is never.
  struct Record {
    uint32_t interval = 0;
    uint16_t thread = 0;
    bool several_threads = false;  // of one block, in that interval
    bool several_blocks = false;
    bool atomic = false;
  };
  struct Byte {
    Record write, read;
  };
  static constexpr uintptr_t kPageBytes = 1024;
  struct Page {
    Byte bytes[kPageBytes];
  };

  Byte& byte_at(uintptr_t address, bool is_shared);
  // Whether what a record says is not ordered before an access by `thread` now.
  bool unordered(const Record& record, int thread) const;
  void remember(Record& record, int thread, bool atomic) const;

  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages_;
  uintptr_t last_number_ = 0;
  Page* last_page_ = nullptr;
  uint32_t interval_ = 0, first_of_block_ = 0;
};

}  // namespace emulated::simt
