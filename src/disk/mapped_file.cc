// See mapped_file.h.
#include "disk/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace ferry::disk {
namespace {

constexpr uintptr_t kLookEvery = uintptr_t{2} << 20;

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// All maps there are, for map_at(), which may lock nothing.
struct Map {
  std::atomic<bool> taken = false;
  std::atomic<uintptr_t> begin = 0;  // 0: the rest says nothing
  std::atomic<uintptr_t> end = 0;
  std::atomic<const char*> path = nullptr;
};
static_assert(std::atomic<uintptr_t>::is_always_lock_free);
constinit std::array<Map, 4096> g_maps;

// madvise over the whole pages that lie in `part` (inner) or touch it (outer).
void advise(std::span<const uint8_t> part, int advice, bool outer) {
  if (part.empty()) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  auto begin = reinterpret_cast<uintptr_t>(part.data());
  auto end = begin + part.size();
  begin = outer ? begin / page * page : (begin + page - 1) / page * page;
  end = outer ? (end + page - 1) / page * page : end / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace

const char* map_at(const void* address) {
  // The last page of a file is mapped whole.
  constexpr uintptr_t kPageMask = 4095;
  const auto at = reinterpret_cast<uintptr_t>(address);
  for (const Map& map : g_maps) {
    const uintptr_t begin = map.begin;
    if (begin != 0 && at >= begin && at <= ((map.end - 1) | kPageMask)) return map.path;
  }
  return nullptr;
}

std::string errno_text(int error) { return std::generic_category().message(error); }

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: opening a pipe must not wait for its other end.
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) return not_found("{}: no such file", path);
    return io_error("{}: cannot open: {}", path, errno_text(error));
  }
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) {
    return io_error("{}: cannot read its size: {}", path, errno_text(errno));
  }
  if (S_ISDIR(info.st_mode)) return invalid_input("{}: expected a file, found a directory", path);
  if (!S_ISREG(info.st_mode)) {
    return invalid_input("{}: expected a regular file, found a pipe, socket or device", path);
  }
  if (info.st_size == 0) return invalid_input("{}: the file is empty", path);
  const auto size = static_cast<size_t>(info.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) {
    return io_error("{}: cannot map {} bytes: {}", path, size, errno_text(errno));
  }
  // Weights are streamed from the mapping for every token. Where the file system caches files in
  // huge pages this maps them as such; elsewhere it changes nothing.
  ::madvise(data, size, MADV_HUGEPAGE);
  std::shared_ptr<MappedFile> mapped(
      new MappedFile(path, {static_cast<const uint8_t*>(data), size}, file.release()));
  mapped->remember();
  return std::shared_ptr<const MappedFile>(std::move(mapped));
}

void MappedFile::remember() {
  for (Map& map : g_maps) {
    if (map.taken.exchange(true)) continue;
    const auto begin = reinterpret_cast<uintptr_t>(bytes_.data());
    map.path = path_.c_str();
    map.end = begin + bytes_.size();
    map.begin = begin;
    return;
  }
}

void MappedFile::forget() {
  for (Map& map : g_maps) {
    if (map.begin != reinterpret_cast<uintptr_t>(bytes_.data())) continue;
    map.begin = 0;
    map.taken = false;
    return;
  }
}

std::shared_ptr<const MappedFile> MappedFile::view(std::string path,
                                                   std::span<const uint8_t> bytes) {
  return std::shared_ptr<const MappedFile>(new MappedFile(std::move(path), bytes, -1));
}

MappedFile::~MappedFile() {
  if (!mapped()) return;
  forget();
  ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
  ::close(file_);
}

void MappedFile::will_need(std::span<const uint8_t> part) const {
  if (mapped()) advise(part, MADV_WILLNEED, true);
}

void MappedFile::done_with(std::span<const uint8_t> part) const {
  if (mapped()) advise(part, MADV_DONTNEED, false);
}

bool MappedFile::in_memory(std::span<const uint8_t> part) const {
  if (!mapped()) return true;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(part.data());
  for (uintptr_t at = begin; at < begin + part.size(); at += kLookEvery) {
    unsigned char resident = 0;
    if (::mincore(reinterpret_cast<void*>(at / page * page), page, &resident) != 0) return false;
    if ((resident & 1) == 0) return false;
  }
  return true;
}

std::string MappedFile::identity() const {
  struct stat info {};
  if (!mapped() || ::fstat(file_, &info) != 0) return {};
  const auto nanoseconds = [](const timespec& time) {
    return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
  };
  return fmt::format("{} {} {} {} {}", info.st_dev, info.st_ino, info.st_size,
                     nanoseconds(info.st_mtim), nanoseconds(info.st_ctim));
}

void MappedFile::read_past_cache() const {
  if (mapped()) ::fcntl(file_, F_SETFL, O_RDONLY | O_DIRECT);  // if not: through the cache
}

Result<const uint8_t*> MappedFile::read(int64_t offset, int64_t bytes,
                                        std::span<uint8_t> buffer) const {
  CHECK(offset >= 0 && bytes >= 0 && offset <= size() && bytes <= size() - offset);
  CHECK(static_cast<int64_t>(buffer.size()) >= read_buffer_bytes(bytes));
  const int64_t lead = offset % kReadBlock;
  if (!mapped()) {
    std::copy_n(bytes_.data() + offset, bytes, buffer.data() + lead);
    return buffer.data() + lead;
  }
  const int64_t wanted = (lead + bytes + kReadBlock - 1) / kReadBlock * kReadBlock;
  int64_t done = 0;
  while (done < lead + bytes) {
    const ssize_t count = ::pread(file_, buffer.data() + done, static_cast<size_t>(wanted - done),
                                  offset - lead + done);
    if (count > 0) {
      done += count;
      // A read past the cache must go on at a block, also behind one that was cut short.
      if (done < lead + bytes) done = done / kReadBlock * kReadBlock;
      if (count >= kReadBlock || done >= lead + bytes) continue;
    }
    const int error = count < 0 ? errno : 0;
    if (error == EINTR) continue;
    // Larger blocks than ours are asked for by few disks; the cache takes any.
    const int flags = ::fcntl(file_, F_GETFL);
    if (error == EINVAL && (flags & O_DIRECT) != 0) {
      ::fcntl(file_, F_SETFL, flags & ~O_DIRECT);
      continue;
    }
    return io_error("cannot read {} bytes at offset {}: {}", bytes, offset,
                    error != 0 ? errno_text(error)
                               : std::string("the file has become shorter since it was opened"));
  }
  return buffer.data() + lead;
}

}  // namespace ferry::disk
