// See rank_team.h.
#include "engine/rank_team.h"

namespace ferry::engine {

RankTeam::RankTeam(int num_ranks) {
  for (int rank = 1; rank < num_ranks; ++rank) {
    threads_.emplace_back([this, rank] { serve(rank); });
  }
}

RankTeam::~RankTeam() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

void RankTeam::run(const std::function<void(int rank)>& work) {
  if (!threads_.empty()) {
    const std::lock_guard lock(mutex_);
    work_ = &work;
    running_ = static_cast<int>(threads_.size());
    ++round_;
    changed_.notify_all();
  }
  work(0);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return running_ == 0; });
  work_ = nullptr;
}

void RankTeam::serve(int rank) {
  std::unique_lock lock(mutex_);
  uint64_t seen = 0;
  while (true) {
    changed_.wait(lock, [&] { return ending_ || round_ != seen; });
    if (ending_) return;
    seen = round_;
    const std::function<void(int)>& work = *work_;
    lock.unlock();
    work(rank);
    lock.lock();
    if (--running_ == 0) changed_.notify_all();
  }
}

}  // namespace ferry::engine
