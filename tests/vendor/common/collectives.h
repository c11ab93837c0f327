// What the emulated libraries of collectives have in common: ranks that are threads or queues of
// one process and meet. For the emulated vendor libraries only; shares no code with ferry.
//
// A clique is strict: every rank has to come, each once, on a device of its own, within
// FERRY_EMULATED_COLLECTIVE_TIMEOUT_MS (20000); in a collective all have to bring the same
// function, dtype and counts that fit. Sums are made from the last rank to the first: another order
// than ferry's own, and the same for all.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace emulated {

enum class Element { kF32, kF16, kBF16, kI8, kI32, kI64 };
int64_t element_bytes(Element element);

enum class Collective { kAllReduce, kAllGather, kReduceScatter, kAllToAllV };

// What one rank brings, by addresses that the emulator may touch.
struct Part {
  Collective what = Collective::kAllReduce;
  Element element = Element::kF32;
  int64_t count = 0;  // as the vendors count
  const char* send = nullptr;
  char* receive = nullptr;
  // kAllToAllV, of every rank
  struct Piece {
    char* data = nullptr;
    int64_t count = 0;
  };
  std::vector<Piece> sends, receives;
  bool wrong = false;  // gives a wrong result in this test
};

enum class Outcome { kDone, kTimeout, kMismatch };

class Clique {
 public:
  // The clique of this id, made by whoever asks first.
  static std::shared_ptr<Clique> of(uint64_t id);
  static uint64_t new_id();

  // Enters without waiting. False: another size was said before, the rank or the device is there
  // already.
  bool enter(int size, int rank, int device);
  // Returns when all are there; false: some did not come in time.
  bool wait_for_all();
  // A collective, in the queue of its rank.
  Outcome run(int rank, const Part& part);

 private:
  bool meet(std::unique_lock<std::mutex>& lock);
  bool fits() const;
  std::vector<std::vector<char>> results_of(int rank) const;

  std::mutex mutex_;
  std::condition_variable changed_;
  int size_ = 0;
  std::set<int> ranks_, devices_;
  std::vector<Part> parts_;
  int arrived_ = 0;
  uint64_t round_ = 0;
  bool broken_ = false;  // someone did not come: nobody meets here again
};

}  // namespace emulated
