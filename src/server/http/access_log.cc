// See access_log.h.
#include "server/http/access_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace ferry::server {
namespace {

constexpr size_t kMaxQueue = 16384;

}  // namespace

Result<std::unique_ptr<AccessLog>> AccessLog::open(const std::string& path) {
  if (path == "-") return std::unique_ptr<AccessLog>(new AccessLog(STDOUT_FILENO, false));
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (descriptor < 0) return io_error("--access-log: {}: {}", path, std::strerror(errno));
  return std::unique_ptr<AccessLog>(new AccessLog(descriptor, true));
}

AccessLog::AccessLog(int descriptor, bool owned)
    : descriptor_(descriptor), owned_(owned), thread_([this] { loop(); }) {}

AccessLog::~AccessLog() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_one();
  thread_.join();
  if (owned_) close(descriptor_);
}

void AccessLog::add(std::string line) {
  {
    std::lock_guard lock(mutex_);
    if (queue_.size() >= kMaxQueue) {
      ++num_lost_;
      return;
    }
    queue_.push_back(std::move(line));
  }
  arrived_.notify_one();
}

// What went out in part is ended by a newline later, so that only its own line is broken.
bool AccessLog::write_all(const std::string& text) const {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = write(descriptor_, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    done += static_cast<size_t>(written);
  }
  if (done > 0 && done < text.size()) {
    [[maybe_unused]] const ssize_t ended = write(descriptor_, "\n", 1);
  }
  return done == text.size();
}

void AccessLog::loop() {
  for (;;) {
    std::vector<std::string> lines;
    int64_t num_lost = 0;
    bool stopping = false;
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      lines.swap(queue_);
      num_lost = std::exchange(num_lost_, 0);
      stopping = stopping_;
    }
    std::string text;
    if (num_lost > 0) text = fmt::format("{{\"lost_lines\":{}}}\n", num_lost);
    for (const std::string& line : lines) text += line + "\n";
    if (!text.empty() && !write_all(text)) {
      std::lock_guard lock(mutex_);
      num_lost_ += num_lost + static_cast<int64_t>(lines.size());
    }
    if (stopping) return;
  }
}

}  // namespace ferry::server
