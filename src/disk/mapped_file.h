// MappedFile: the bytes of one file, read-only, without copying them. Either a memory map of a file
// on disk or a view of bytes that the program already holds (the built-in model).
//
// A file that another process shortens while it is mapped can't be gone on with: the kernel answers
// a read past the new end with SIGBUS. A program may say which file it was (map_at()) before it
// ends. Writers that replace files by rename (as ferry's own do) are safe, because the map keeps
// the old file alive. read() goes by the file and not by the map: there the same is an error.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ferry::disk {

class MappedFile {
 public:
  // Errors: not there, not readable, a directory, a pipe or device, empty.
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);

  // A view. REQUIRES: `bytes` outlive every copy of the pointer returned.
  static std::shared_ptr<const MappedFile> view(std::string path, std::span<const uint8_t> bytes);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const std::string& path() const { return path_; }
  std::span<const uint8_t> bytes() const { return bytes_; }
  int64_t size() const { return static_cast<int64_t>(bytes_.size()); }
  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }

  // Hints about a part of bytes(): will be read soon; has been read and is not needed again (its
  // pages leave this process, so that packing weights does not double the model in memory).
  void will_need(std::span<const uint8_t> part) const;
  void done_with(std::span<const uint8_t> part) const;

  // Whether the part is in the page cache, by a look at one page of each 2 MiB; a view always is.
  bool in_memory(std::span<const uint8_t> part) const;
  // Changes whenever the file is written to or replaced: device, inode, size, times of change.
  // Empty: a view, or not to be had.
  std::string identity() const;

  // From now on read() goes past the page cache, where the file system can: what is read again and
  // again into memory of the caller's own would only push out what is mapped.
  void read_past_cache() const;
  // Copies bytes [offset, offset + bytes) to `buffer`, by whole blocks of kReadBlock bytes, and
  // returns where in it they begin. Any number of threads may read at once.
  // Errors: how many bytes at which offset, and why not; the file is the caller's to name.
  // REQUIRES: the part lies inside of bytes(); `buffer` is aligned to kReadBlock and has
  // read_buffer_bytes(bytes)
  Result<const uint8_t*> read(int64_t offset, int64_t bytes, std::span<uint8_t> buffer) const;
  static constexpr int64_t kReadBlock = 4096;
  static constexpr int64_t read_buffer_bytes(int64_t bytes) {
    return (bytes + 2 * kReadBlock - 1) / kReadBlock * kReadBlock;
  }

 private:
  MappedFile(std::string path, std::span<const uint8_t> bytes, int file)
      : path_(std::move(path)), bytes_(bytes), file_(file) {}
  bool mapped() const { return file_ >= 0; }

  void remember();
  void forget();

  std::string path_;
  std::span<const uint8_t> bytes_;
  int file_;  // descriptor; -1: a view
};

// The path of the file whose map holds `address`; nullptr: none does, or it is one of more than a
// few thousand maps. Async-signal-safe, for a handler of SIGBUS.
const char* map_at(const void* address);

// "…: permission denied" and the like for an errno value.
std::string errno_text(int error);

}  // namespace ferry::disk
