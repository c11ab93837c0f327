// The access log: one JSON object per line and request, written by a thread of its own behind a
// bounded queue. A disk that is full or slow costs lines, never a request: what could not be
// written is counted, and the count is the next line that can be.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"

namespace ferry::server {

class AccessLog {
 public:
  // `path`: a file that is appended to, or "-" for standard output. Errors: kIo.
  static Result<std::unique_ptr<AccessLog>> open(const std::string& path);
  ~AccessLog();  // writes what is queued

  // `line` without its newline. Thread-safe; never waits.
  void add(std::string line);

 private:
  AccessLog(int descriptor, bool owned);
  void loop();
  bool write_all(const std::string& text) const;

  const int descriptor_;
  const bool owned_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<std::string> queue_;
  int64_t num_lost_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace ferry::server
