// RankTeam: a thread for each rank but the first, which is the caller's. Collectives may wait for
// other ranks, so all have to be at work at once.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace ferry::engine {

// One caller at a time.
class RankTeam {
 public:
  explicit RankTeam(int num_ranks);
  ~RankTeam();
  RankTeam(const RankTeam&) = delete;
  RankTeam& operator=(const RankTeam&) = delete;

  // work(rank) on every rank's thread; returns when all are done.
  void run(const std::function<void(int rank)>& work);

 private:
  void serve(int rank);

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void(int)>* work_ = nullptr;
  uint64_t round_ = 0;
  int running_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ferry::engine
