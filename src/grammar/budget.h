// What compiling one constraint may cost. Constraints come from clients: each step that can grow
// (copies of a repeated part, states of an automaton, alternatives multiplied out) is charged here
// first, so that a hostile one ends in an error after a bounded time and in bounded memory.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace ferry::grammar {

struct CompileLimits {
  int64_t max_text_bytes = 1 << 20;  // of a schema or regex
  int64_t max_states = 150'000;      // automaton states, all rules together
  int64_t max_work = 20'000'000;     // elementary steps: about half a second
};

class Budget {
 public:
  explicit Budget(const CompileLimits& limits = {})
      : states_left_(limits.max_states), work_left_(limits.max_work), limits_(limits) {}

  const CompileLimits& limits() const { return limits_; }
  int64_t states_left() const { return states_left_; }

  Status take_states(int64_t count) {
    states_left_ -= count;
    if (states_left_ >= 0) return {};
    states_left_ = 0;
    return invalid_input("the constraint needs more than {} states; make repeats and lists shorter",
                         limits_.max_states);
  }
  void give_back_states(int64_t count) { states_left_ += count; }
  Status take_work(int64_t steps) {
    work_left_ -= steps;
    if (work_left_ >= 0) return {};
    work_left_ = 0;
    return invalid_input("the constraint takes too long to compile (more than {} steps)",
                         limits_.max_work);
  }

 private:
  int64_t states_left_;
  int64_t work_left_;
  CompileLimits limits_;
};

}  // namespace ferry::grammar
