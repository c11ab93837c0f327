// AtomicFile: a file that appears under its name only when it is complete. It is written as
// `NAME.part-PID-N` in the same folder, flushed to the disk and renamed; dropped before commit(),
// it leaves nothing behind.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ferry::disk {

class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  Status write(std::span<const uint8_t> bytes);
  Status write(std::string_view text);
  Status write_zeros(int64_t count);
  int64_t position() const { return position_; }
  const std::string& path() const { return path_; }

  // Flush, fsync, rename. Nothing may be written after it.
  Status commit();

 private:
  AtomicFile(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}
  Status flush();
  Status write_through(std::span<const uint8_t> bytes);
  Error failure(std::string_view what, int error) const;

  std::string path_;
  std::string temporary_;
  std::vector<uint8_t> buffer_;
  int64_t position_ = 0;
  int fd_ = -1;
};

// Writes a whole file that way.
Status write_file(const std::string& path, std::string_view content);

}  // namespace ferry::disk
