// HotSet: weights that stay in their file until an op needs them. A bounded part of memory keeps
// those that were used last; a few threads read the others, what an op waits for first, then what
// somebody expects to be wanted soon.
//
//   cold ──► queued ──► being read ──► hot ──► cold again, when it is the one unused for longest
//
// What an op works on is pinned: never dropped meanwhile. An op that wants more than the memory
// holds gets it in pieces (HotReads), so the limit holds for any op of one stream; what several
// streams have pinned at once is kept even beyond it.
//
// Thread-safe. A ColdWeight keeps its set alive, not the other way round.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "device/backend.h"

namespace ferry::cpu {

class HotSet;

// One matrix of a set; a WeightView has it as `packed`. All fields but `source` are the set's.
struct ColdWeight {
  enum class State : uint8_t { kCold, kQueued, kReading, kHot };

  ColdWeight(std::shared_ptr<HotSet> set, const HostWeight& weight);
  ~ColdWeight();
  ColdWeight(const ColdWeight&) = delete;
  ColdWeight& operator=(const ColdWeight&) = delete;

  const std::shared_ptr<HotSet> set;
  const std::shared_ptr<const WeightSource> source;
  const std::shared_ptr<const void> scales;  // HostWeight::keep_alive
  const int64_t buffer_bytes;
  State state = State::kCold;
  int pins = 0;
  bool guessed = false;  // read because it was expected, and not used since
  std::optional<Error> error;
  uint8_t* buffer = nullptr;
  const uint8_t* data = nullptr;                // of the first row, while hot
  std::list<ColdWeight*>::iterator place = {};  // in the list of those unused, while hot
};

// nullptr: not read on demand. One that is has no data of its own; the `packed` of one that has
// are its strips (packed_weights.h).
inline ColdWeight* cold_weight(const WeightView& view) {
  if (view.data != nullptr) return nullptr;
  return const_cast<ColdWeight*>(static_cast<const ColdWeight*>(view.packed));
}

class HotSet : public std::enable_shared_from_this<HotSet> {
 public:
  HotSet() = default;
  ~HotSet();
  HotSet(const HotSet&) = delete;
  HotSet& operator=(const HotSet&) = delete;

  void set_limit(int64_t bytes);
  // REQUIRES: weight.source
  Weight add(const HostWeight& weight);
  // To be read when the next HotReads has what it wants. Replaces what was expected before.
  void expect(std::vector<ColdWeight*> weights);
  OnDemandStats stats() const;

 private:
  friend class HotReads;
  friend struct ColdWeight;
  using Clock = std::chrono::steady_clock;

  void start_readers();
  void read_loop();
  void read_one(ColdWeight& weight, bool guess, std::unique_lock<std::mutex>& lock);
  // All with the lock held.
  void pin(ColdWeight& weight);
  void unpin(ColdWeight& weight);
  void forget(ColdWeight& weight);
  uint8_t* take_buffer(int64_t bytes);
  void make_room(int64_t bytes);
  void drop(ColdWeight& weight);

  mutable std::mutex mutex_;
  std::condition_variable work_;   // for readers
  std::condition_variable ready_;  // for whoever waits for a read
  int64_t limit_ = 0;
  int64_t used_ = 0;                        // bytes of all buffers
  std::list<ColdWeight*> unused_;           // hot and not pinned, the longest unused first
  std::multimap<int64_t, uint8_t*> spare_;  // buffers by size
  std::deque<ColdWeight*> wanted_;          // queued, pinned
  std::deque<ColdWeight*> guesses_;         // perhaps cold, not pinned
  std::vector<ColdWeight*> expected_;       // guesses of the next HotReads
  std::vector<std::thread> readers_;
  bool stopping_ = false;
  int reading_ = 0;
  Clock::time_point reading_since_;
  OnDemandStats stats_;
};

// The weights that one op wants, in the order in which it does. Reads begin at once, as far ahead
// as there is memory.
class HotReads {
 public:
  // nullptr: a weight that is in memory anyway. All others are of one set.
  explicit HotReads(std::vector<ColdWeight*> wanted);
  ~HotReads();
  HotReads(const HotReads&) = delete;
  HotReads& operator=(const HotReads&) = delete;

  // Indices in [begin, end) whose data can be used now, each given once. Waits until there are
  // `least` of them, or all that are left or have begun to be read; none: all were given.
  // REQUIRES: those before `begin` were given and are done
  Result<std::span<const size_t>> next(size_t begin, size_t end, size_t least);
  // What next() gave last is not used any more.
  void done();

 private:
  enum class Stage : uint8_t { kAhead, kBegun, kGiven, kDone };
  void begin_reads();

  const std::vector<ColdWeight*> wanted_;
  HotSet* set_ = nullptr;  // nullptr: nothing to read
  std::vector<Stage> stages_;
  size_t first_ahead_ = 0;  // those before have begun
  int64_t pinned_bytes_ = 0;
  std::vector<size_t> given_;
};

}  // namespace ferry::cpu
