// The team's protocol. One word, state_, says which job is on and who is inside; a worker joins a
// job by compare-and-swap while it is open, so that the caller can close it without waiting for
// members that have not come. Sleepers are found by the usual pair of sequentially consistent
// flags: either the sleeper sees the change, or the other side sees the sleeper.
//
// A share is one word too. Its owner takes the first range, thieves take the second half; a value
// never comes back within a job, because a range that has left a share never returns to it. That
// all shares are empty does not mean that all ranges have been run, only that each has somebody.
#include "base/thread_team.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <string>

#include "base/check.h"

namespace ferry {
namespace {

constexpr uint64_t kOpen = uint64_t{1} << 31;
constexpr uint64_t kInsideMask = kOpen - 1;
// About 50–100 µs: longer than the gap between two ops of a forward, shorter than a time slice.
constexpr int kSpinPauses = 2000;

thread_local bool inside_job = false;

void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

uint64_t epoch_of(uint64_t state) { return state >> 32; }

// Of Share.
constexpr uint64_t ranges(uint64_t first, uint64_t end) { return first << 32 | end; }
constexpr uint64_t first_of(uint64_t ranges) { return ranges >> 32; }
constexpr uint64_t end_of(uint64_t ranges) { return ranges & 0xffffffff; }

void pin_current_thread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < 0 || cpu >= CPU_SETSIZE) return;
  CPU_SET(cpu, &set);
  // A refused pin (a smaller affinity mask, a container) costs speed, never correctness.
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

}  // namespace

ThreadTeam::ThreadTeam(int num_threads, std::vector<int> cpus)
    : num_threads_(num_threads),
      // Spinning on a machine with fewer processors than members only keeps the others from work.
      spin_pauses_(
          static_cast<int>(std::thread::hardware_concurrency()) >= num_threads ? kSpinPauses : 0),
      cpus_(std::move(cpus)),
      shares_(static_cast<size_t>(num_threads)) {
  CHECK(num_threads >= 1);
  workers_.reserve(static_cast<size_t>(num_threads - 1));
  for (int thread = 1; thread < num_threads; ++thread) {
    workers_.emplace_back([this, thread] { worker_main(thread); });
  }
}

ThreadTeam::~ThreadTeam() {
  stop_.store(true);
  { std::lock_guard lock(sleep_mutex_); }
  wake_workers_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::start(Job job) {
  CHECK(!inside_job);
  if (num_threads_ == 1 || (job.num_tasks <= job.grain && !job.everyone)) {
    inside_job = true;
    // The grain is a promise to the task (its scratch may be sized for it).
    for (int64_t begin = 0; begin < job.num_tasks; begin += job.grain) {
      job.invoke(job.fn, begin, std::min(begin + job.grain, job.num_tasks), 0);
    }
    inside_job = false;
    return;
  }
  std::lock_guard launch(launch_mutex_);
  job_ = job;
  share_out(job);
  remaining_.store(num_threads_ - 1, std::memory_order_relaxed);
  const uint64_t epoch = epoch_of(state_.load(std::memory_order_relaxed)) + 1;
  state_.store((epoch << 32) | kOpen);
  if (sleeping_workers_.load() > 0) {
    { std::lock_guard lock(sleep_mutex_); }
    wake_workers_.notify_all();
  }

  inside_job = true;
  work(0);
  inside_job = false;

  if (job.everyone) caller_waits_until([this] { return remaining_.load() == 0; });
  state_.fetch_and(~kOpen);
  caller_waits_until([this] { return (state_.load() & kInsideMask) == 0; });
}

void ThreadTeam::work(int thread) {
  const Job& job = job_;
  if (job.everyone) {
    job.invoke(job.fn, thread, thread + 1, thread);
    return;
  }
  int64_t range = 0;
  while (take(thread, &range)) {
    const int64_t begin = range * job.grain;
    job.invoke(job.fn, begin, std::min(begin + job.grain, job.num_tasks), thread);
  }
}

void ThreadTeam::share_out(const Job& job) {
  if (job.everyone) return;
  const int64_t count = (job.num_tasks + job.grain - 1) / job.grain;
  CHECK(count < int64_t{1} << 32);
  for (int64_t thread = 0; thread < num_threads_; ++thread) {
    const auto first = static_cast<uint64_t>(count * thread / num_threads_);
    const auto end = static_cast<uint64_t>(count * (thread + 1) / num_threads_);
    shares_[static_cast<size_t>(thread)].ranges.store(ranges(first, end),
                                                      std::memory_order_relaxed);
  }
}

bool ThreadTeam::take(int thread, int64_t* range) {
  std::atomic<uint64_t>& own = shares_[static_cast<size_t>(thread)].ranges;
  uint64_t now = own.load(std::memory_order_relaxed);
  while (first_of(now) < end_of(now)) {
    const uint64_t rest = ranges(first_of(now) + 1, end_of(now));
    if (!own.compare_exchange_weak(now, rest, std::memory_order_relaxed)) continue;
    *range = static_cast<int64_t>(first_of(now));
    return true;
  }
  return steal(thread, range);
}

// Into an empty share, which nobody but its owner writes.
bool ThreadTeam::steal(int thread, int64_t* range) {
  for (int i = 1; i < num_threads_; ++i) {
    std::atomic<uint64_t>& other = shares_[static_cast<size_t>((thread + i) % num_threads_)].ranges;
    uint64_t now = other.load(std::memory_order_relaxed);
    while (first_of(now) < end_of(now)) {
      const uint64_t middle = first_of(now) + (end_of(now) - first_of(now)) / 2;
      if (!other.compare_exchange_weak(now, ranges(first_of(now), middle),
                                       std::memory_order_relaxed)) {
        continue;
      }
      shares_[static_cast<size_t>(thread)].ranges.store(ranges(middle + 1, end_of(now)),
                                                        std::memory_order_relaxed);
      *range = static_cast<int64_t>(middle);
      return true;
    }
  }
  return false;
}

void ThreadTeam::worker_main(int thread) {
  pthread_setname_np(pthread_self(), ("ferry-team-" + std::to_string(thread)).c_str());
  if (!cpus_.empty()) pin_current_thread(cpus_[static_cast<size_t>(thread) % cpus_.size()]);
  inside_job = true;  // whatever runs here runs inside a job
  uint64_t seen_epoch = 0;
  uint64_t state = 0;
  while (wait_for_job(seen_epoch, &state)) {
    seen_epoch = epoch_of(state);
    bool joined = false;
    while ((state & kOpen) != 0 && epoch_of(state) == seen_epoch && !joined) {
      joined = state_.compare_exchange_weak(state, state + 1);
    }
    if (!joined) continue;  // closed, or already the next one
    work(thread);
    if (job_.everyone) remaining_.fetch_sub(1);
    state_.fetch_sub(1);
    wake_caller();
  }
}

// Returns false when the team is being destroyed.
bool ThreadTeam::wait_for_job(uint64_t seen_epoch, uint64_t* state) {
  auto changed = [&] {
    *state = state_.load();
    return epoch_of(*state) != seen_epoch || stop_.load();
  };
  for (int i = 0; i < spin_pauses_; ++i) {
    if (changed()) return !stop_.load();
    pause_cpu();
  }
  std::unique_lock lock(sleep_mutex_);
  sleeping_workers_.fetch_add(1);
  wake_workers_.wait(lock, changed);
  sleeping_workers_.fetch_sub(1);
  return !stop_.load();
}

template <typename Condition>
void ThreadTeam::caller_waits_until(Condition condition) {
  for (int i = 0; i < spin_pauses_; ++i) {
    if (condition()) return;
    pause_cpu();
  }
  std::unique_lock lock(sleep_mutex_);
  caller_sleeps_.store(true);
  wake_caller_.wait(lock, condition);
  caller_sleeps_.store(false);
}

void ThreadTeam::wake_caller() {
  if (!caller_sleeps_.load()) return;
  { std::lock_guard lock(sleep_mutex_); }
  wake_caller_.notify_all();
}

}  // namespace ferry
