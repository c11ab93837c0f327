// See atomic_file.h.
#include "disk/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>

#include "base/check.h"
#include "disk/folder.h"
#include "disk/mapped_file.h"

namespace ferry::disk {
namespace {

constexpr size_t kBufferBytes = 1 << 20;

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  static std::atomic<int> counter{0};
  const std::string temporary =
      fmt::format("{}.part-{}-{}", path, static_cast<int>(::getpid()), counter.fetch_add(1));
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return io_error("{}: cannot create: {}", path, errno_text(errno));
  return AtomicFile(path, temporary, fd);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      buffer_(std::move(other.buffer_)),
      position_(other.position_),
      fd_(other.fd_) {
  other.fd_ = -1;
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

Error AtomicFile::failure(std::string_view what, int error) const {
  return io_error("{}: {} at byte {}: {}", path_, what, position_, errno_text(error));
}

Status AtomicFile::write_through(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failure("cannot write", errno);
    bytes = bytes.subspan(written);
  }
  return {};
}

Status AtomicFile::flush() {
  FERRY_TRY_VOID(write_through(buffer_));
  buffer_.clear();
  return {};
}

Status AtomicFile::write(std::span<const uint8_t> bytes) {
  CHECK(fd_ >= 0);
  if (buffer_.size() + bytes.size() > kBufferBytes) FERRY_TRY_VOID(flush());
  if (bytes.size() >= kBufferBytes) {
    FERRY_TRY_VOID(write_through(bytes));
  } else {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
  position_ += static_cast<int64_t>(bytes.size());
  return {};
}

Status AtomicFile::write(std::string_view text) {
  return write(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

Status AtomicFile::write_zeros(int64_t count) {
  const std::vector<uint8_t> zeros(std::min<int64_t>(count, 4096), 0);
  while (count > 0) {
    const int64_t part = std::min<int64_t>(count, static_cast<int64_t>(zeros.size()));
    FERRY_TRY_VOID(write(std::span(zeros).first(part)));
    count -= part;
  }
  return {};
}

Status AtomicFile::commit() {
  CHECK(fd_ >= 0);
  FERRY_TRY_VOID(flush());
  if (::fsync(fd_) != 0) return failure("cannot flush to the disk", errno);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return failure("cannot rename the finished file", errno);
  }
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) return failure("cannot close", errno);
  // So that the new name survives a power cut as well; some file systems refuse, which is fine.
  const int folder = ::open(split_path(path_).first.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return {};
}

Status write_file(const std::string& path, std::string_view content) {
  FERRY_TRY(AtomicFile file, AtomicFile::create(path));
  FERRY_TRY_VOID(file.write(content));
  return file.commit();
}

}  // namespace ferry::disk
