// ThreadTeam: a fixed set of threads that compute together. The caller is member 0; the others wait
// in between, spinning for some tens of microseconds and then asleep, so that an idle engine burns
// nothing.
//
// Each member begins with tasks that lie side by side, so that what it reads ahead is what it needs
// next, and when it has done them takes half of what another has left (work stealing, Blumofe and
// Leiserson 1999). A member that wakes late does not hold anybody up: when the tasks are used up
// the caller closes the job and waits only for members that joined it. Which member runs which task
// is therefore not fixed; results must not depend on it.
//
// Thread safety: jobs from several threads take turns, but for those too small to share, which run
// where they are called: scratch indexed by member must belong to one caller. A task must not start
// work on a team (CHECK). A team of one runs everything in place and synchronises with nobody.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace ferry {

class ThreadTeam {
 public:
  // REQUIRES: num_threads >= 1. With `cpus` not empty, worker i is pinned to cpus[i % size]; the
  // caller's own placement is left alone.
  explicit ThreadTeam(int num_threads, std::vector<int> cpus = {});
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return num_threads_; }

  // Calls fn(begin, end, thread) for ranges of at most `grain` tasks that cover [0, num_tasks).
  // `thread` is in [0, size()); calls of one job with the same one never overlap in time.
  template <typename Fn>
  void parallel_for(int64_t num_tasks, int64_t grain, Fn&& fn) {
    if (num_tasks <= 0) return;
    start({invoke_range<Fn>, &fn, num_tasks, grain < 1 ? 1 : grain, false});
  }

  // Calls fn(thread) once on every member and returns when all are done.
  template <typename Fn>
  void run(Fn&& fn) {
    auto one = [&fn](int64_t, int64_t, int thread) { fn(thread); };
    start({invoke_range<decltype(one)>, &one, num_threads_, 1, true});
  }

 private:
  struct Job {
    void (*invoke)(void* fn, int64_t begin, int64_t end, int thread) = nullptr;
    void* fn = nullptr;
    int64_t num_tasks = 0;
    int64_t grain = 1;
    bool everyone = false;  // one call per member instead of shared tasks
  };

  template <typename Fn>
  static void invoke_range(void* fn, int64_t begin, int64_t end, int thread) {
    (*static_cast<std::remove_reference_t<Fn>*>(fn))(begin, end, thread);
  }

  // Ranges of a member that nobody has begun: first << 32 | end.
  struct alignas(64) Share {
    std::atomic<uint64_t> ranges{0};
  };

  void start(Job job);
  void share_out(const Job& job);
  void work(int thread);
  bool take(int thread, int64_t* range);
  bool steal(int thread, int64_t* range);
  void worker_main(int thread);
  bool wait_for_job(uint64_t seen_epoch, uint64_t* state);
  template <typename Condition>
  void caller_waits_until(Condition condition);
  void wake_caller();

  const int num_threads_;
  const int spin_pauses_;
  std::vector<int> cpus_;

  std::mutex launch_mutex_;  // held for the length of a job
  Job job_;                  // written while no member is inside; published by state_
  // epoch << 32 | open << 31 | members inside. A member joins by adding one while `open` is set.
  alignas(64) std::atomic<uint64_t> state_{0};
  std::vector<Share> shares_;                  // [num_threads]; written as job_ is
  alignas(64) std::atomic<int> remaining_{0};  // of an `everyone` job: members not done yet

  alignas(64) std::atomic<int> sleeping_workers_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stop_{false};
  std::mutex sleep_mutex_;
  std::condition_variable wake_workers_;
  std::condition_variable wake_caller_;
  std::vector<std::thread> workers_;
};

}  // namespace ferry
