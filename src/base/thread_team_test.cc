// ThreadTeam: every task once, no overlap per member, late members, many short jobs, clean ends.
#include "base/thread_team.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>

namespace ferry {
namespace {

TEST(ThreadTeam, RunsEveryTaskOnce) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadTeam team(threads);
    for (int64_t tasks : {0, 1, 2, 5, 100, 1001}) {
      for (int64_t grain : {1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(tasks));
        team.parallel_for(tasks, grain, [&](int64_t begin, int64_t end, int thread) {
          EXPECT_LE(end - begin, grain);
          EXPECT_GE(thread, 0);
          EXPECT_LT(thread, threads);
          for (int64_t i = begin; i < end; ++i) seen[static_cast<size_t>(i)].fetch_add(1);
        });
        for (const auto& count : seen) ASSERT_EQ(count.load(), 1);
      }
    }
  }
}

// A member that is held up in its first task has all of its others taken away.
TEST(ThreadTeam, TasksOfASlowMemberAreTakenOver) {
  ThreadTeam team(3);
  for (const int64_t tasks : {2, 3, 50, 1000}) {
    std::atomic<int64_t> done{0};
    std::atomic<bool> held{false};
    team.parallel_for(tasks, 1, [&](int64_t, int64_t, int) {
      if (!held.exchange(true)) {
        while (done.load() < tasks - 1) std::this_thread::yield();
      }
      ++done;
    });
    EXPECT_EQ(done.load(), tasks);
  }
}

TEST(ThreadTeam, RunCallsEveryMemberOnItsOwnThread) {
  ThreadTeam team(4);
  std::vector<std::thread::id> ids(4);
  for (int round = 0; round < 50; ++round) {
    std::vector<int> calls(4);
    team.run([&](int thread) {
      ++calls[static_cast<size_t>(thread)];
      ids[static_cast<size_t>(thread)] = std::this_thread::get_id();
    });
    EXPECT_EQ(calls, std::vector<int>(4, 1));
  }
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
}

// Results of one job are visible to the next without further synchronisation, and a member never
// has two calls at once: both would show as a race or a wrong sum.
TEST(ThreadTeam, ManyShortJobsSeeEachOthersWrites) {
  ThreadTeam team(3);
  std::vector<int64_t> values(64, 0);
  std::vector<int64_t> calls_of_thread(3, 0);
  constexpr int kRounds = 3000;
  for (int round = 0; round < kRounds; ++round) {
    team.parallel_for(64, 4, [&](int64_t begin, int64_t end, int thread) {
      ++calls_of_thread[static_cast<size_t>(thread)];
      for (int64_t i = begin; i < end; ++i) ++values[static_cast<size_t>(63 - i)];
    });
  }
  EXPECT_EQ(values, std::vector<int64_t>(64, kRounds));
  EXPECT_EQ(std::accumulate(calls_of_thread.begin(), calls_of_thread.end(), int64_t{0}),
            int64_t{kRounds} * 16);
}

TEST(ThreadTeam, SleepersWakeUp) {
  ThreadTeam team(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));  // longer than they spin
    std::atomic<int> calls{0};
    team.run([&](int) { calls.fetch_add(1); });
    EXPECT_EQ(calls.load(), 3);
  }
}

TEST(ThreadTeam, CallerSleepsUntilASlowMemberIsDone) {
  ThreadTeam team(2);
  bool done = false;
  team.run([&](int thread) {
    if (thread == 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    done = true;
  });
  EXPECT_TRUE(done);
}

TEST(ThreadTeam, CallersTakeTurns) {
  ThreadTeam team(2);
  std::vector<int> inside(2, 0);
  auto use = [&] {
    for (int round = 0; round < 500; ++round) {
      team.parallel_for(8, 1, [&](int64_t, int64_t, int thread) {
        int& count = inside[static_cast<size_t>(thread)];  // a race here means two jobs at once
        EXPECT_EQ(++count, 1);
        --count;
      });
    }
  };
  std::thread other(use);
  use();
  other.join();
}

TEST(ThreadTeam, StartsAndEndsQuickly) {
  for (int i = 0; i < 50; ++i) {
    ThreadTeam team(4, i % 2 == 0 ? std::vector<int>{0, 1} : std::vector<int>{});
    if (i % 3 == 0) team.parallel_for(10, 1, [](int64_t, int64_t, int) {});
  }
}

TEST(ThreadTeamDeathTest, NestedUseIsABug) {
  ThreadTeam team(1);
  EXPECT_DEATH(team.parallel_for(1, 1,
                                 [&](int64_t, int64_t, int) {
                                   team.parallel_for(1, 1, [](int64_t, int64_t, int) {});
                                 }),
               "inside_job");
}

}  // namespace
}  // namespace ferry
