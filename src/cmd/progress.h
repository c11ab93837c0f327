// A progress bar on stderr for work that takes longer than a second: a bar that redraws on a
// terminal, a plain line every few seconds otherwise. Nothing at all for quick work.
//   loading model.gguf  [=========>          ]  47 %  4.21 / 8.95 GB  1.9 GB/s  2 s left
// Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace ferry::cmd {

class Progress {
 public:
  // `unit`: of what is counted, " requests"; bytes without one.
  explicit Progress(std::string label, std::string unit = "");
  ~Progress();  // finishes the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(int64_t done, int64_t total);

 private:
  using Clock = std::chrono::steady_clock;
  void draw(double elapsed_s, int64_t done, int64_t total);

  std::mutex mutex_;
  std::string label_;
  std::string unit_;
  bool terminal_;
  Clock::time_point start_;
  Clock::time_point last_draw_;
  bool drawn_ = false;
};

}  // namespace ferry::cmd
