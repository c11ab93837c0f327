// StreamState: what lies between the engine thread, which writes events, and the one reader of
// a TokenStream. Events that nobody has read yet melt into one, so that a slow reader costs the
// engine nothing: memory is bounded by the text of one answer.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "ferry/ferry.h"

namespace ferry::engine {

// Wakes the engine thread; outlives the engine in the hands of its streams.
class Doorbell {
 public:
  void ring() {
    {
      std::lock_guard lock(mutex_);
      rung_ = true;
    }
    condition_.notify_one();
  }
  // Waits until somebody has rung since the last time.
  void wait() {
    std::unique_lock lock(mutex_);
    condition_.wait(lock, [this] { return rung_; });
    rung_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool rung_ = false;
};

class StreamState {
 public:
  StreamState(std::shared_ptr<Doorbell> doorbell, int64_t prompt_tokens)
      : doorbell_(std::move(doorbell)), prompt_tokens_(prompt_tokens) {}

  // Engine side. After an event with `finish` nothing more may be pushed.
  void push(StreamEvent event);
  bool cancel_requested() const { return cancelled_.load(std::memory_order_relaxed); }

  // Reader side.
  std::optional<StreamEvent> take(std::optional<std::chrono::milliseconds> timeout);
  void on_event(std::function<void()> notify);
  bool finished() const;
  void cancel();
  int64_t prompt_tokens() const { return prompt_tokens_; }

 private:
  std::shared_ptr<Doorbell> doorbell_;
  const int64_t prompt_tokens_;
  std::atomic<bool> cancelled_{false};

  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::function<void()> notify_;  // called under the lock: so that it can be taken away for sure
  std::optional<StreamEvent> pending_;
  bool closed_ = false;    // the last event was pushed
  bool finished_ = false;  // … and taken
};

}  // namespace ferry::engine
