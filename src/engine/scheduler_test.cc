// The scheduler driven by chance, with a cache of labels instead of tensors: every place remembers
// which token behind which others was written to it last. That shows a leak, a page in wrong hands,
// a token computed twice, too early or in the wrong phase. Prompts come in families that begin
// alike, so that pages are shared all the time.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <span>

namespace ferry::engine {
namespace {

// Sanitizers make each step many times as dear, and look for other things.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kSteps = 40'000;
#else
constexpr int kSteps = 1'000'000;
#endif

// Stands for a token and all before it.
using Label = uint64_t;

Label mix(Label before, uint64_t token) {
  const Label label = (before ^ token) * 0x9E3779B97F4A7C15u;
  return label ^ (label >> 29);
}

struct Live {
  std::vector<Label> labels;   // of prompt and output
  std::vector<Label> guesses;  // of what follows
  int64_t prompt = 0;
  int64_t limit = 0;
  int64_t computed = 0;
  int64_t due = 0;
  bool seen = false;
};

class World {
 public:
  World(const SchedulerLimits& limits, uint32_t seed)
      : limits_(limits),
        scheduler_(limits),
        random_(seed),
        cache_(static_cast<size_t>(limits.num_pages * limits.block_size)),
        recent_cache_(static_cast<size_t>(limits.num_recent_pages * limits.block_size)) {}

  void step() {
    const uint32_t dice = random_() % 100;
    if (dice < add_percent_ && live_.size() < 40) add();
    if (dice >= 97 && !live_.empty()) cancel();
    if (random_() % 5000 == 0) add_percent_ = random_() % 60;
    forward();
    if (random_() % 8 == 0) check_pages();
  }

  void drain() {
    for (int i = 0; i < 100'000 && !live_.empty(); ++i) forward();
    EXPECT_TRUE(live_.empty());
    EXPECT_EQ(scheduler_.stats().num_free_pages, limits_.num_pages);
    EXPECT_EQ(scheduler_.stats().num_free_recent_pages, limits_.num_recent_pages);
    EXPECT_EQ(scheduler_.stats().num_running + scheduler_.stats().num_waiting, 0);
    EXPECT_EQ(num_added_, num_ended_);
  }

  const Scheduler& scheduler() const { return scheduler_; }
  int64_t num_added() const { return static_cast<int64_t>(num_added_); }

 private:
  void add() {
    const int64_t most = limits_.num_pages * limits_.block_size;
    Live live;
    live.limit = 1 + random_() % most;
    live.prompt = 1 + random_() % std::min<int64_t>(live.limit, most / 2 + 1);
    ASSERT_TRUE(scheduler_.fits(live.limit));
    const int priority = random_() % 8 == 0 ? static_cast<int>(random_() % 3) - 1 : 0;
    live.due = num_steps_ - priority * Scheduler::kHeadStartSteps;
    // One of four families, left for own tokens somewhere, perhaps behind the end.
    Label label = mix(0x5EED, random_() % 4);
    const int64_t own = random_() % (most / 2 + 1);
    const uint64_t self = num_added_ + 100;
    std::vector<BlockKey> keys;
    for (int64_t i = 0; i < live.prompt; ++i) {
      label = mix(label, i < own ? 1 : self);
      live.labels.push_back(label);
      if ((i + 1) % limits_.block_size == 0) keys.push_back({label, ~label});
    }
    if (random_() % 10 == 0) keys.clear();  // who shares nothing
    scheduler_.add(++num_added_, live.prompt, live.limit, priority, std::move(keys));
    live_.emplace(num_added_, std::move(live));
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
    ++num_steps_;
    const Schedule schedule = scheduler_.next();
    ASSERT_EQ(schedule.chunks.empty(), live_.empty());
    ASSERT_LE(schedule.num_tokens, limits_.max_batch_tokens);
    int64_t drafts = 0;
    ASSERT_LE(static_cast<int64_t>(schedule.chunks.size()), limits_.max_sequences);
    const SequenceId most_senior = senior();
    bool senior_seen = live_.empty();
    int64_t tokens = 0;
    bool prompts_began = false;
    for (const Chunk& chunk : schedule.chunks) {
      ASSERT_FALSE(chunk.decode && prompts_began);
      prompts_began |= !chunk.decode;
      senior_seen |= chunk.id == most_senior;
      tokens += chunk.count;
      drafts += chunk.drafts;
      compute(chunk);
      if (::testing::Test::HasFatalFailure()) return;
    }
    ASSERT_EQ(tokens, schedule.num_tokens);
    if (drafts > 0) {
      ASSERT_LE(tokens, limits_.max_draft_step_tokens);
    }
    // The most senior gets on in every step, and nobody becomes senior to those who are there for
    // longer than a head start: nothing can starve.
    ASSERT_TRUE(senior_seen);
    // Who runs gets on: no long prompt or recomputation holds up the others.
    for (const auto& [id, live] : live_) {
      if (live.seen || scheduler_.pages(id).empty()) continue;
      ASSERT_TRUE(is_computed_by_others(live, schedule)) << id;
      ++num_spared_;
    }
    scheduler_.computed(schedule);
    for (const Chunk& chunk : schedule.chunks) {
      live_.at(chunk.id).seen = false;
      if (chunk.wants_logits) sample(chunk);
    }
  }

  // Whether some other prompt is at a whole block that this one has as well.
  bool is_computed_by_others(const Live& live, const Schedule& schedule) const {
    for (const Chunk& chunk : schedule.chunks) {
      const int64_t last = (chunk.begin / limits_.block_size + 1) * limits_.block_size - 1;
      const Live& other = live_.at(chunk.id);
      if (chunk.decode || last >= other.prompt || last + 1 >= live.prompt) continue;
      const auto at = static_cast<size_t>(last);
      if (live.labels[at] == other.labels[at]) return true;
    }
    return false;
  }

  SequenceId senior() const {
    SequenceId best = 0;
    for (const auto& [id, live] : live_) {
      if (best == 0 || live.due < live_.at(best).due) best = id;
    }
    return best;
  }

  void compute(const Chunk& chunk) {
    ASSERT_TRUE(live_.count(chunk.id));
    Live& live = live_.at(chunk.id);
    ASSERT_FALSE(live.seen);  // one chunk a step
    live.seen = true;
    const auto tokens = static_cast<int64_t>(live.labels.size());
    if (chunk.begin != live.computed) {
      // New, or computed again after preemption, behind what was found of its prompt.
      ASSERT_EQ(chunk.begin % limits_.block_size, 0);
      ASSERT_LT(chunk.begin, live.prompt);
    }
    live.computed = chunk.begin + chunk.count - chunk.drafts;
    ASSERT_GT(live.computed, chunk.begin);
    ASSERT_LE(chunk.drafts, std::ssize(live.guesses));
    ASSERT_LE(live.computed, tokens);
    ASSERT_EQ(chunk.decode, chunk.begin >= live.prompt);
    if (!chunk.decode) {
      ASSERT_LE(live.computed, live.prompt);
    }
    ASSERT_EQ(chunk.wants_logits, live.computed == tokens);
    if (chunk.drafts > 0) {
      ASSERT_TRUE(chunk.decode && chunk.wants_logits);
      ASSERT_EQ(chunk.count, chunk.drafts + 1);
      ASSERT_LT(chunk.begin + chunk.count, live.limit);
    }
    touch_cache(chunk, live);
  }

  void touch_cache(const Chunk& chunk, const Live& live) {
    touch_pages(chunk, live, 0, scheduler_.pages(chunk.id), cache_);
    if (limits_.num_recent_pages == 0) return;
    const int64_t first = std::max<int64_t>(0, chunk.begin + 1 - limits_.recent_tokens);
    touch_pages(chunk, live, first, scheduler_.recent_pages(chunk.id), recent_cache_);
  }

  // What the chunk's tokens read, from `first` on, and write.
  void touch_pages(const Chunk& chunk, const Live& live, int64_t first,
                   std::span<const int32_t> pages, std::vector<Label>& cache) {
    const int64_t end = chunk.begin + chunk.count;
    const auto tokens = std::ssize(live.labels);
    ASSERT_GE(std::ssize(pages) * limits_.block_size, end);
    for (int64_t p = first; p < end; ++p) {
      const int64_t page = pages[static_cast<size_t>(p / limits_.block_size)];
      Label& place = cache[static_cast<size_t>(page * limits_.block_size + p % limits_.block_size)];
      const Label label = p < tokens ? live.labels[static_cast<size_t>(p)]
                                     : live.guesses[static_cast<size_t>(p - tokens)];
      if (p >= chunk.begin) place = label;
      ASSERT_EQ(place, label) << "keys of an earlier token are gone";
    }
  }

  // Generated tokens are nobody else's, even where they are the same.
  static Label generated(Label before, SequenceId id) {
    return mix(before, (uint64_t{1} << 40) + id);
  }

  void sample(const Chunk& chunk) {
    Live& live = live_.at(chunk.id);
    int64_t count = 0;
    for (bool right = true; right; ++count) {
      if (std::ssize(live.labels) == live.limit || random_() % 40 == 0) {
        end(chunk.id);
        return;
      }
      live.labels.push_back(generated(live.labels.back(), chunk.id));
      right =
          count < chunk.drafts && live.guesses[static_cast<size_t>(count)] == live.labels.back();
      num_right_ += right ? 1 : 0;
    }
    num_wrong_ += chunk.drafts + 1 - count;
    scheduler_.append(chunk.id, count);
    live.computed += count - 1;
    guess(chunk.id, live);
  }

  // Right ones first, then others.
  void guess(SequenceId id, Live& live) {
    live.guesses.clear();
    const uint32_t count = random_() % 6;
    const uint32_t num_right = random_() % 6;
    Label label = live.labels.back();
    for (uint32_t i = 0; i < count; ++i) {
      label = i < num_right ? generated(label, id) : mix(label, random_());
      live.guesses.push_back(label);
    }
    scheduler_.draft(id, count);
  }

  void check_pages() {
    std::map<int32_t, Label> held;  // and what was written there first
    int64_t running = 0;
    const SchedulerStats stats = scheduler_.stats();
    ASSERT_EQ(stats.num_running + stats.num_waiting, static_cast<int64_t>(live_.size()));
    for (const auto& [id, live] : live_) {
      const auto pages = scheduler_.pages(id);
      running += pages.empty() ? 0 : 1;
      for (size_t i = 0; i < pages.size(); ++i) {
        // A page in two hands holds the same block of the same beginning, whole, for both.
        const auto last = static_cast<int64_t>(i + 1) * limits_.block_size - 1;
        const bool whole_prompt = last < live.prompt;
        const Label label = whole_prompt ? live.labels[static_cast<size_t>(last)] : id;
        const auto [other, is_new] = held.emplace(pages[i], label);
        ASSERT_TRUE(is_new || (whole_prompt && other->second == label)) << "page in wrong hands";
        num_shared_ += is_new ? 0 : 1;
      }
    }
    ASSERT_EQ(running, stats.num_running);
    ASSERT_EQ(static_cast<int64_t>(held.size()) + stats.num_free_pages, limits_.num_pages);
    check_recent_pages(stats);
  }

  // No more are held than the memory plan counts on.
  void check_recent_pages(const SchedulerStats& stats) {
    const int64_t each = (limits_.recent_tokens + limits_.block_size - 1) / limits_.block_size + 3;
    const int64_t step = (limits_.max_batch_tokens + limits_.block_size - 1) / limits_.block_size;
    ASSERT_LE(limits_.num_recent_pages - stats.num_free_recent_pages,
              stats.num_running * each + step);
    for (const auto& [id, live] : live_) {
      const int64_t pages = std::ssize(scheduler_.recent_pages(id));
      num_let_go_ += std::max<int64_t>(0, pages - each - step);
    }
  }

  SchedulerLimits limits_;
  Scheduler scheduler_;
  std::mt19937 random_;
  std::vector<Label> cache_, recent_cache_;
  std::map<SequenceId, Live> live_;
  SequenceId num_added_ = 0;
  SequenceId num_ended_ = 0;
  int64_t num_steps_ = 0;
  uint32_t add_percent_ = 20;

 public:
  int64_t num_shared_ = 0;  // pages that were met a second time
  int64_t num_spared_ = 0;  // chunks that others computed
  int64_t num_right_ = 0;   // guesses
  int64_t num_wrong_ = 0;
  int64_t num_let_go_ = 0;  // pages of recent tokens
};

TEST(Scheduler, AMillionRandomStepsKeepEveryPromise) {
  const SchedulerLimits kinds[] = {
      {.block_size = 4,
       .num_pages = 24,
       .max_batch_tokens = 16,
       .max_sequences = 8,
       .max_draft_step_tokens = 12},
      {.block_size = 16,
       .num_pages = 8,
       .max_batch_tokens = 8,
       .max_sequences = 8,
       .max_draft_step_tokens = 8},
      {.block_size = 1,
       .num_pages = 60,
       .max_batch_tokens = 64,
       .max_sequences = 4,
       .max_draft_step_tokens = 16},
      {.block_size = 3,
       .num_pages = 40,
       .max_batch_tokens = 5,
       .max_sequences = 5,
       .max_draft_step_tokens = 16},
      {.block_size = 8, .num_pages = 1, .max_batch_tokens = 2, .max_sequences = 2},
      // Windows: no page of recent tokens more than there must be, and some more.
      {.block_size = 2,
       .num_pages = 60,
       .max_batch_tokens = 12,
       .max_sequences = 4,
       .max_draft_step_tokens = 12,
       .recent_tokens = 8,
       .num_recent_pages = 4 * (4 + 3) + 6},
      {.block_size = 4,
       .num_pages = 40,
       .max_batch_tokens = 16,
       .max_sequences = 3,
       .max_draft_step_tokens = 8,
       .recent_tokens = 10,
       .num_recent_pages = 2 * (3 * (3 + 3) + 4)},
  };
  uint32_t seed = 0;
  int64_t preemptions = 0, shared = 0, hits = 0, spared = 0, right = 0, wrong = 0, let_go = 0;
  for (const SchedulerLimits& limits : kinds) {
    World world(limits, ++seed);
    for (int i = 0; i < kSteps / 7; ++i) {
      world.step();
      if (::testing::Test::HasFatalFailure()) return;
    }
    world.drain();
    EXPECT_GT(world.num_added(), 100);
    const SchedulerStats stats = world.scheduler().stats();
    EXPECT_LE(stats.num_prefix_hits, stats.num_prefix_queries);
    preemptions += stats.num_preemptions;
    hits += stats.num_prefix_hits;
    shared += world.num_shared_;
    spared += world.num_spared_;
    right += world.num_right_;
    wrong += world.num_wrong_;
    let_go += world.num_let_go_;
  }
  // Or the hard parts were not tested.
  EXPECT_GT(preemptions, kSteps / 200);
  EXPECT_GT(hits, kSteps / 200);
  EXPECT_GT(shared, kSteps / 200);
  EXPECT_GT(spared, kSteps / 1000);
  EXPECT_GT(right, kSteps / 50);
  EXPECT_GT(wrong, kSteps / 50);
  EXPECT_GT(let_go, kSteps / 50);
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
  ASSERT_EQ(schedule.chunks.size(), 3u);
  EXPECT_TRUE(schedule.chunks[0].decode);
  EXPECT_EQ(schedule.chunks[1].id, 2u);
  EXPECT_EQ(schedule.chunks[1].begin, 7);
  EXPECT_EQ(schedule.chunks[1].count, 5);  // the nine that are left are shared evenly …
  EXPECT_EQ(schedule.chunks[2].id, 3u);
  EXPECT_EQ(schedule.chunks[2].count, 4);
}

TEST(Scheduler, ALongPromptHoldsUpNeitherTokensNorShortPrompts) {
  Scheduler scheduler(
      {.block_size = 16, .num_pages = 8000, .max_batch_tokens = 512, .max_sequences = 8});
  scheduler.add(1, 20, 100);
  scheduler.computed(scheduler.next());
  scheduler.append(1);
  scheduler.add(2, 100'000, 100'100);
  scheduler.computed(scheduler.next());
  scheduler.append(1);
  for (SequenceId id = 3; id <= 6; ++id) {
    scheduler.add(id, 100, 200);
    const Schedule schedule = scheduler.next();
    ASSERT_EQ(schedule.chunks.size(), 3u);
    EXPECT_EQ(schedule.num_tokens, 512);
    EXPECT_EQ(schedule.chunks[0].id, 1u);  // a token in every step
    EXPECT_EQ(schedule.chunks[2].id, id);
    EXPECT_TRUE(schedule.chunks[2].wants_logits);  // answers at once
    EXPECT_EQ(schedule.chunks[1].count, 512 - 1 - 100);
    scheduler.computed(schedule);
    scheduler.append(1);
    scheduler.remove(id);
  }
}

TEST(Scheduler, PriorityIsAHeadStart) {
  Scheduler scheduler(
      {.block_size = 4, .num_pages = 10, .max_batch_tokens = 16, .max_sequences = 1});
  scheduler.add(1, 4, 40);
  scheduler.computed(scheduler.next());
  scheduler.append(1);
  scheduler.add(2, 4, 40, 0);
  scheduler.add(3, 4, 40, 1);
  Schedule schedule = scheduler.next();  // the urgent one gets the place of the first
  ASSERT_EQ(schedule.chunks.size(), 1u);
  EXPECT_EQ(schedule.chunks[0].id, 3u);
  EXPECT_EQ(scheduler.stats().num_preemptions, 1);
  scheduler.computed(schedule);
  scheduler.remove(3);
  schedule = scheduler.next();
  EXPECT_EQ(schedule.chunks[0].id, 1u);  // back at its old place, before the second
  scheduler.computed(schedule);
  for (int64_t i = 0; i <= Scheduler::kHeadStartSteps; ++i) {
    scheduler.remove(1 + static_cast<SequenceId>(i) * 10);
    scheduler.add(11 + static_cast<SequenceId>(i) * 10, 4, 40, 1);
    schedule = scheduler.next();
    scheduler.computed(schedule);
    if (schedule.chunks[0].id == 2u) break;
  }
  EXPECT_EQ(schedule.chunks[0].id, 2u);  // even among urgent ones its time comes
}

TEST(Scheduler, EqualPromptsThatArriveTogetherAreComputedOnce) {
  Scheduler scheduler(
      {.block_size = 4, .num_pages = 100, .max_batch_tokens = 16, .max_sequences = 8});
  std::vector<BlockKey> keys;
  for (uint64_t i = 1; i <= 10; ++i) keys.push_back({i, i});
  for (SequenceId id = 1; id <= 4; ++id) scheduler.add(id, 42, 50, 0, keys);
  int64_t tokens = 0;
  for (int answered = 0; answered < 4;) {
    const Schedule schedule = scheduler.next();
    tokens += schedule.num_tokens;
    scheduler.computed(schedule);
    for (const Chunk& chunk : schedule.chunks) {
      if (!chunk.wants_logits) continue;
      ++answered;
      scheduler.remove(chunk.id);
    }
  }
  EXPECT_EQ(tokens, 42 + 3 * 2);  // the others have their last two tokens left
  EXPECT_EQ(scheduler.stats().num_prefix_hits, 3 * 40);
}

TEST(Scheduler, APromptIsFoundButForItsLastToken) {
  Scheduler scheduler(
      {.block_size = 4, .num_pages = 4, .max_batch_tokens = 64, .max_sequences = 2});
  const std::vector<BlockKey> keys = {{1, 1}, {2, 2}};
  const auto first_begin = [&](SequenceId id, int64_t prompt, std::vector<BlockKey> own) {
    scheduler.add(id, prompt, prompt + 1, 0, std::move(own));
    const Schedule schedule = scheduler.next();
    scheduler.computed(schedule);
    scheduler.remove(id);
    return schedule.chunks[0].begin;
  };
  EXPECT_EQ(first_begin(1, 8, keys), 0);
  EXPECT_EQ(first_begin(2, 8, keys), 4);  // the last token is in the second block
  EXPECT_EQ(first_begin(3, 9, keys), 8);
  EXPECT_EQ(first_begin(4, 9, {{1, 1}, {3, 3}}), 4);
  EXPECT_EQ(first_begin(5, 9, {{7, 7}, {2, 2}}), 0);  // a beginning or nothing
  EXPECT_EQ(scheduler.stats().num_prefix_queries, 43);
  EXPECT_EQ(scheduler.stats().num_prefix_hits, 16);
  EXPECT_EQ(first_begin(6, 15, {{8, 8}, {9, 9}, {10, 10}}), 0);  // takes all pages
  EXPECT_EQ(first_begin(7, 9, keys), 0);
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

TEST(Scheduler, GuessesTakeOnlyWhatIsLeft) {
  Scheduler scheduler({.block_size = 2,
                       .num_pages = 8,
                       .max_batch_tokens = 8,
                       .max_sequences = 2,
                       .max_draft_step_tokens = 6});
  const auto run = [&] {
    Schedule schedule = scheduler.next();
    scheduler.computed(schedule);
    return schedule;
  };
  scheduler.add(1, 3, 12);
  run();
  scheduler.append(1);
  scheduler.draft(1, 9);
  Schedule schedule = run();
  ASSERT_EQ(schedule.chunks.size(), 1u);
  EXPECT_EQ(schedule.chunks[0].drafts, 5);  // with the last token, six
  EXPECT_EQ(schedule.chunks[0].count, 6);
  EXPECT_EQ(scheduler.pages(1).size(), 5u);
  scheduler.append(1, 3);  // two were right
  EXPECT_EQ(scheduler.pages(1).size(), 4u);
  scheduler.draft(1, 2);
  scheduler.add(2, 5, 6);  // a prompt fills the step
  schedule = run();
  ASSERT_EQ(schedule.chunks.size(), 2u);
  EXPECT_EQ(schedule.chunks[0].begin, 6);
  EXPECT_EQ(schedule.chunks[0].drafts, 0);
  scheduler.append(1);
  scheduler.append(2);
  scheduler.draft(1, 3);
  scheduler.draft(2, 3);
  schedule = run();
  ASSERT_EQ(schedule.chunks.size(), 2u);
  EXPECT_EQ(schedule.chunks[0].begin, 7);
  EXPECT_EQ(schedule.chunks[0].drafts, 2);  // one page was left
  EXPECT_EQ(schedule.chunks[1].drafts, 0);  // its next token is the last there may be
  EXPECT_EQ(scheduler.stats().num_free_pages, 0);
  scheduler.append(1);
  EXPECT_EQ(scheduler.stats().num_free_pages, 0);  // the page is needed after all
  EXPECT_EQ(scheduler.stats().num_preemptions, 0);
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
