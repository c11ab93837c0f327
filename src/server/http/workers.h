// A few threads for what must not run on the one that reads and writes sockets: parsing bodies of
// megabytes, rendering chats, cutting texts into tokens.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace ferry::server {

class Workers {
 public:
  // `niceness`: how far behind the other threads of this process these stand where cores are
  // scarce.
  Workers(int num_threads, size_t max_waiting, int niceness = 0);
  ~Workers();  // what has not begun is dropped
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // False: too much is waiting already. Thread-safe.
  bool run(std::function<void()> work);

 private:
  void loop(int niceness);

  const size_t max_waiting_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ferry::server
