// Races and reads of what nobody wrote: see accesses.h. At the end, what the compiler calls before
// every access of code that it made with -fsanitize=thread: the kernels of one of the emulated
// drivers. The sanitizer's own library, which knows nothing of fibres, is not used.
#include "vendor/cuda/accesses.h"

#include "vendor/cuda/simt.h"

namespace emulated::simt {

void Accesses::begin_launch() {
  pages_.clear();
  last_page_ = nullptr;
  interval_ = 0;
}

void Accesses::begin_block() { first_of_block_ = ++interval_; }

void Accesses::begin_interval() { ++interval_; }

Accesses::Byte& Accesses::byte_at(uintptr_t address, bool is_shared) {
  const uintptr_t number = address / kPageBytes;
  if (last_page_ == nullptr || last_number_ != number) {
    auto& page = pages_[number];
    if (page == nullptr) page = std::make_unique<Page>();
    last_page_ = page.get();
    last_number_ = number;
  }
  Byte& byte = last_page_->bytes[address % kPageBytes];
  // Shared memory of the block before was another.
  if (is_shared && byte.write.interval < first_of_block_) byte.write = {};
  if (is_shared && byte.read.interval < first_of_block_) byte.read = {};
  return byte;
}

bool Accesses::unordered(const Record& record, int thread) const {
  if (record.interval == 0) return false;
  if (record.interval < first_of_block_ || record.several_blocks) return true;
  if (record.interval < interval_) return false;
  return record.several_threads || record.thread != thread;
}

void Accesses::remember(Record& record, int thread, bool atomic) const {
  const bool before = record.interval != 0;
  record.several_blocks = before && (record.several_blocks || record.interval < first_of_block_);
  const bool same_interval = before && record.interval == interval_;
  record.several_threads = same_interval && (record.several_threads || record.thread != thread);
  record.atomic = atomic && (!same_interval || record.atomic);
  record.interval = interval_;
  record.thread = static_cast<uint16_t>(thread);
}

const char* Accesses::note(int thread, const void* address, int bytes, Access access,
                           bool is_shared) {
  const bool atomic = access == Access::kAtomic;
  for (int i = 0; i < bytes; ++i) {
    Byte& byte =
        byte_at(reinterpret_cast<uintptr_t>(address) + static_cast<uintptr_t>(i), is_shared);
    const bool after_write = unordered(byte.write, thread) && !(atomic && byte.write.atomic);
    if (after_write) return access == Access::kRead ? "a read races a write" : "two writes race";
    if (access == Access::kRead || atomic) {
      if (is_shared && byte.write.interval == 0) return "shared memory that nobody wrote is read";
    }
    if (access == Access::kRead) {
      remember(byte.read, thread, false);
      continue;
    }
    if (unordered(byte.read, thread)) return "a write races a read";
    remember(byte.write, thread, atomic);
  }
  return nullptr;
}

}  // namespace emulated::simt

#define FERRY_WATCHED_SIZE(size)                                                  \
  void __tsan_read##size(void* address) {                                         \
    emulated::simt::note(address, size, emulated::simt::Access::kRead);           \
  }                                                                               \
  void __tsan_write##size(void* address) {                                        \
    emulated::simt::note(address, size, emulated::simt::Access::kWrite);          \
  }                                                                               \
  void __tsan_unaligned_read##size(void* address) { __tsan_read##size(address); } \
  void __tsan_unaligned_write##size(void* address) { __tsan_write##size(address); }

extern "C" {

FERRY_WATCHED_SIZE(1)
FERRY_WATCHED_SIZE(2)
FERRY_WATCHED_SIZE(4)
FERRY_WATCHED_SIZE(8)
FERRY_WATCHED_SIZE(16)

void __tsan_read_range(void* address, unsigned long bytes) {
  emulated::simt::note(address, static_cast<int>(bytes), emulated::simt::Access::kRead);
}
void __tsan_write_range(void* address, unsigned long bytes) {
  emulated::simt::note(address, static_cast<int>(bytes), emulated::simt::Access::kWrite);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

}  // extern "C"
