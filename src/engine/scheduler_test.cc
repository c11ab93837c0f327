// The scheduler driven by chance, with a cache of labels instead of tensors: every page remembers
// which token of which sequence was written to it last. That shows a leak, a page in two hands, a
// token computed twice, too early or in the wrong phase.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace ferry::engine {
namespace {

struct Label {
  SequenceId id = 0;
  int64_t position = -1;
  bool operator==(const Label&) const = default;
};

struct Live {
  int64_t prompt = 0;
  int64_t limit = 0;
  int64_t tokens = 0;  // prompt and output
  int64_t computed = 0;
};

class World {
 public:
  World(const SchedulerLimits& limits, uint32_t seed)
      : limits_(limits),
        scheduler_(limits),
        random_(seed),
        cache_(limits.num_pages * limits.block_size) {}

  void step() {
    const uint32_t dice = random_() % 100;
    if (dice < add_percent_ && live_.size() < 40) add();
    if (dice >= 97 && !live_.empty()) cancel();
    if (random_() % 5000 == 0) add_percent_ = random_() % 60;
    forward();
    check_pages();
  }

  void drain() {
    for (int i = 0; i < 100000 && !live_.empty(); ++i) forward();
    EXPECT_TRUE(live_.empty());
    EXPECT_EQ(scheduler_.stats().num_free_pages, limits_.num_pages);
    EXPECT_EQ(scheduler_.stats().num_running + scheduler_.stats().num_waiting, 0);
    EXPECT_EQ(num_added_, num_ended_);
  }

  const Scheduler& scheduler() const { return scheduler_; }
  int64_t num_added() const { return num_added_; }

 private:
  void add() {
    const int64_t most = limits_.num_pages * limits_.block_size;
    const int64_t limit = 1 + random_() % most;
    const int64_t prompt = 1 + random_() % std::min<int64_t>(limit, most / 2 + 1);
    ASSERT_TRUE(scheduler_.fits(limit));
    scheduler_.add(++num_added_, prompt, limit);
    live_[num_added_] = {prompt, limit, prompt, 0};
  }

  void cancel() {
    auto it = live_.begin();
    std::advance(it, random_() % live_.size());
    end(it->first);
  }

  void end(SequenceId id) {
    scheduler_.remove(id);
    ASSERT_EQ(live_.erase(id), 1u);
    ++num_ended_;
  }

  void forward() {
    const Schedule schedule = scheduler_.next();
    ASSERT_EQ(schedule.chunks.empty(), live_.empty());
    ASSERT_LE(schedule.num_tokens, limits_.max_batch_tokens);
    ASSERT_LE(static_cast<int64_t>(schedule.chunks.size()), limits_.max_sequences);
    std::set<SequenceId> seen;
    int64_t tokens = 0;
    bool prompts_began = false;
    for (const Chunk& chunk : schedule.chunks) {
      ASSERT_TRUE(seen.insert(chunk.id).second);
      ASSERT_FALSE(chunk.decode && prompts_began);
      prompts_began |= !chunk.decode;
      tokens += chunk.count;
      compute(chunk);
      if (::testing::Test::HasFatalFailure()) return;
    }
    ASSERT_EQ(tokens, schedule.num_tokens);
    // The oldest sequence always gets on: nothing can starve.
    if (!live_.empty()) {
      ASSERT_TRUE(seen.count(live_.begin()->first));
    }
    scheduler_.computed(schedule);
    for (const Chunk& chunk : schedule.chunks) {
      if (chunk.wants_logits) sample(chunk.id);
    }
  }

  void compute(const Chunk& chunk) {
    ASSERT_TRUE(live_.count(chunk.id));
    Live& live = live_[chunk.id];
    if (chunk.begin == 0) live.computed = 0;  // new, or computed again after preemption
    ASSERT_EQ(chunk.begin, live.computed);
    ASSERT_GT(chunk.count, 0);
    ASSERT_LE(chunk.begin + chunk.count, live.tokens);
    ASSERT_EQ(chunk.decode, chunk.begin >= live.prompt);
    if (!chunk.decode) {
      ASSERT_LE(chunk.begin + chunk.count, live.prompt);
    }
    ASSERT_EQ(chunk.wants_logits, chunk.begin + chunk.count == live.tokens);
    const auto pages = scheduler_.pages(chunk.id);
    ASSERT_GE(static_cast<int64_t>(pages.size()) * limits_.block_size, chunk.begin + chunk.count);
    const auto slot = [&](int64_t position) {
      return pages[position / limits_.block_size] * limits_.block_size +
             position % limits_.block_size;
    };
    for (int64_t p = 0; p < chunk.begin; ++p) {
      ASSERT_EQ(cache_[slot(p)], (Label{chunk.id, p})) << "keys of an earlier token are gone";
    }
    for (int64_t p = chunk.begin; p < chunk.begin + chunk.count; ++p) {
      cache_[slot(p)] = {chunk.id, p};
    }
    live.computed += chunk.count;
  }

  void sample(SequenceId id) {
    Live& live = live_[id];
    if (live.tokens == live.limit || random_() % 40 == 0) {
      end(id);
      return;
    }
    scheduler_.append(id);
    ++live.tokens;
  }

  void check_pages() {
    std::set<int32_t> held;
    int64_t running = 0;
    const SchedulerStats stats = scheduler_.stats();
    ASSERT_EQ(stats.num_running + stats.num_waiting, static_cast<int64_t>(live_.size()));
    for (const auto& [id, live] : live_) {
      const auto pages = scheduler_.pages(id);
      running += pages.empty() ? 0 : 1;
      for (int32_t page : pages) ASSERT_TRUE(held.insert(page).second) << "page in two hands";
    }
    ASSERT_EQ(running, stats.num_running);
    ASSERT_EQ(static_cast<int64_t>(held.size()) + stats.num_free_pages, limits_.num_pages);
  }

  SchedulerLimits limits_;
  Scheduler scheduler_;
  std::mt19937 random_;
  std::vector<Label> cache_;
  std::map<SequenceId, Live> live_;
  SequenceId num_added_ = 0;
  SequenceId num_ended_ = 0;
  uint32_t add_percent_ = 20;
};

TEST(Scheduler, RandomStepsKeepEveryPromise) {
  const SchedulerLimits kinds[] = {
      {.block_size = 4, .num_pages = 24, .max_batch_tokens = 16, .max_sequences = 8},
      {.block_size = 16, .num_pages = 8, .max_batch_tokens = 8, .max_sequences = 8},
      {.block_size = 1, .num_pages = 60, .max_batch_tokens = 64, .max_sequences = 4},
      {.block_size = 3, .num_pages = 40, .max_batch_tokens = 5, .max_sequences = 5},
      {.block_size = 8, .num_pages = 1, .max_batch_tokens = 2, .max_sequences = 2},
  };
  uint32_t seed = 0;
  int64_t preemptions = 0;
  for (const SchedulerLimits& limits : kinds) {
    World world(limits, ++seed);
    for (int i = 0; i < 50000; ++i) {
      world.step();
      if (::testing::Test::HasFatalFailure()) return;
    }
    world.drain();
    EXPECT_GT(world.num_added(), 100u);
    preemptions += world.scheduler().stats().num_preemptions;
  }
  EXPECT_GT(preemptions, 1000);  // or the hard part was not tested
}

TEST(Scheduler, DecodesFirstPromptsFillTheBudget) {
  Scheduler scheduler(
      {.block_size = 4, .num_pages = 100, .max_batch_tokens = 10, .max_sequences = 4});
  scheduler.add(1, 3, 50);
  scheduler.add(2, 30, 50);
  Schedule schedule = scheduler.next();
  ASSERT_EQ(schedule.chunks.size(), 2u);
  EXPECT_EQ(schedule.chunks[0].count, 3);
  EXPECT_TRUE(schedule.chunks[0].wants_logits);
  EXPECT_EQ(schedule.chunks[1].count, 7);
  EXPECT_FALSE(schedule.chunks[1].wants_logits);
  scheduler.computed(schedule);
  scheduler.append(1);
  scheduler.add(3, 5, 50);
  schedule = scheduler.next();
  ASSERT_EQ(schedule.chunks.size(), 2u);  // the budget is full before the third is reached
  EXPECT_TRUE(schedule.chunks[0].decode);
  EXPECT_EQ(schedule.chunks[1].id, 2u);
  EXPECT_EQ(schedule.chunks[1].begin, 7);
  EXPECT_EQ(schedule.chunks[1].count, 9);
}

TEST(Scheduler, TheYoungestYieldsAndItsOutputIsRecomputedAsDecode) {
  Scheduler scheduler({.block_size = 2, .num_pages = 6, .max_batch_tokens = 8, .max_sequences = 2});
  const auto run = [&] {
    Schedule schedule = scheduler.next();
    scheduler.computed(schedule);
    for (const Chunk& chunk : schedule.chunks) {
      if (chunk.wants_logits) scheduler.append(chunk.id);
    }
    return schedule;
  };
  scheduler.add(1, 2, 12);
  scheduler.add(2, 2, 12);
  // Both grow to three pages; the seventh page is not there.
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run().chunks.size(), 2u);
  EXPECT_EQ(run().chunks.size(), 1u);
  EXPECT_EQ(scheduler.stats().num_preemptions, 1);
  EXPECT_TRUE(scheduler.pages(2).empty());
  scheduler.remove(1);
  Schedule schedule = run();  // its prompt first …
  ASSERT_EQ(schedule.chunks.size(), 1u);
  EXPECT_EQ(schedule.chunks[0].count, 2);
  EXPECT_FALSE(schedule.chunks[0].decode);
  EXPECT_FALSE(schedule.chunks[0].wants_logits);
  schedule = run();  // … then what it had generated, all at once
  EXPECT_EQ(schedule.chunks[0].begin, 2);
  EXPECT_EQ(schedule.chunks[0].count, 5);
  EXPECT_TRUE(schedule.chunks[0].decode);
  EXPECT_TRUE(schedule.chunks[0].wants_logits);
}

TEST(Scheduler, NobodyOvertakesTheHeadOfTheQueue) {
  Scheduler scheduler(
      {.block_size = 1, .num_pages = 10, .max_batch_tokens = 10, .max_sequences = 4});
  scheduler.add(1, 6, 10);
  scheduler.add(2, 6, 10);  // does not fit beside the first
  scheduler.add(3, 1, 10);  // would
  const Schedule schedule = scheduler.next();
  ASSERT_EQ(schedule.chunks.size(), 1u);
  EXPECT_EQ(scheduler.stats().num_waiting, 2);
  EXPECT_TRUE(scheduler.fits(10));
  EXPECT_FALSE(scheduler.fits(11));
}

}  // namespace
}  // namespace ferry::engine
