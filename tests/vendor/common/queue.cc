// Queues that run late, and numbers of 16 bits: see emulated.h.
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>

#include "vendor/common/emulated.h"

namespace emulated {

void Mark::reach() {
  const std::lock_guard lock(mutex_);
  done_ = true;
  reached_.notify_all();
}

void Mark::wait() {
  std::unique_lock lock(mutex_);
  reached_.wait(lock, [this] { return done_; });
}

TaskQueue::TaskQueue() {
  static std::atomic<uint64_t> seeds{1};
  random_ = seeds++ * 0x9E3779B97F4A7C15u;
  thread_ = std::thread([this] { work(); });
}

TaskQueue::~TaskQueue() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void TaskQueue::push(std::function<int()> task) {
  const std::lock_guard lock(mutex_);
  tasks_.push_back({.run = std::move(task), .mark = nullptr});
  changed_.notify_all();
}

void TaskQueue::push(std::shared_ptr<Mark> mark) {
  const std::lock_guard lock(mutex_);
  tasks_.push_back({.run = nullptr, .mark = std::move(mark)});
  changed_.notify_all();
}

int TaskQueue::sync() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return tasks_.empty() && !running_; });
  return status_;
}

void TaskQueue::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    running_ = true;
    lock.unlock();
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    if (random_ % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random_ % 200));
    int status = status_;
    if (task.mark != nullptr) {
      task.mark->reach();
    } else if (status == 0) {
      status = task.run();
    }
    lock.lock();
    if (status_ == 0) status_ = status;
    running_ = false;
    changed_.notify_all();
  }
}

float from_bfloat(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t to_bfloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  const uint32_t even = bits >> 16 & 1;
  return static_cast<uint16_t>((bits + 0x7FFF + even) >> 16);
}

float from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

uint16_t to_half(float value) {
  const auto sign = static_cast<uint16_t>(std::signbit(value) ? 0x8000 : 0);
  const float size = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7E00;
  if (size >= 65520.0f) return sign | 0x7C00;
  if (size < 0x1p-24f / 2) return sign;
  int exponent = 0;
  std::frexp(size, &exponent);  // size = m · 2^exponent, m in [1/2, 1)
  exponent = std::max(exponent, -13);
  // In units of the last place, rounded to even by the current mode.
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(size, 11 - exponent)));
  const int bits = units < 1024 ? units : ((exponent + 13) << 10) + units;
  return static_cast<uint16_t>(sign | bits);
}

}  // namespace emulated
