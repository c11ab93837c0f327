// See mask_thread.h.
#include "engine/mask_thread.h"

#include <utility>

#include "base/check.h"

namespace ferry::engine {

MaskThread::~MaskThread() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void MaskThread::start(std::vector<AnswerConstraint*> constraints) {
  if (constraints.empty()) return;
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  {
    std::lock_guard lock(mutex_);
    CHECK(work_.empty());
    work_ = std::move(constraints);
  }
  changed_.notify_all();
}

void MaskThread::finish() {
  if (!thread_.joinable()) return;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return work_.empty(); });
}

void MaskThread::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !work_.empty(); });
    if (work_.empty()) return;
    // What start() put there stays as it is until finish() sees it gone.
    lock.unlock();
    for (AnswerConstraint* constraint : work_) constraint->prepare();
    lock.lock();
    work_.clear();
    changed_.notify_all();
  }
}

}  // namespace ferry::engine
