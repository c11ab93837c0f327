// Where a text stands in a program: a set of threads, each a node and the calls it must return to.
//
// Calls that are made at one position for one rule share one set of return points ("frames"), so
// that ambiguous grammars cost their size, not a power of their depth. Sets of frames are kept once
// each in a FrameTable and named by number:
//
//   thread (node, frames)      frames 7 = {(return node, frames 3), (return node, frames 5)}
//   frames 0: the call that began it all; returning to it completes the text
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "grammar/program.h"

namespace ferry::grammar {

struct Thread {
  uint32_t node = 0;
  uint32_t frames = 0;
  friend bool operator==(const Thread&, const Thread&) = default;
  friend bool operator<(const Thread& a, const Thread& b) {
    return a.node != b.node ? a.node < b.node : a.frames < b.frames;
  }
};

class FrameTable {
 public:
  FrameTable();
  // REQUIRES: `frames` ascending, each once
  uint32_t intern(const std::vector<Thread>& frames);
  std::span<const Thread> frames(uint32_t id) const {
    return {threads_.data() + sets_[id].begin, sets_[id].count};
  }
  int depth(uint32_t id) const { return sets_[id].depth; }
  size_t size() const { return sets_.size(); }

 private:
  struct Set {
    uint32_t begin, count;
    int depth;
  };
  std::vector<Set> sets_;
  std::vector<Thread> threads_;
  std::unordered_multimap<uint64_t, uint32_t> index_;  // by hash
};

struct State {
  std::vector<Thread> threads;  // at nodes that can read on; ascending
  bool complete = false;        // the text could end here
  bool dead() const { return threads.empty() && !complete; }
};

// Steps through a program. Everything it makes lives in the table it was given.
class Stepper {
 public:
  Stepper(const Program& program, FrameTable& table) : program_(program), table_(table) {}

  State start();
  State step(const State& state, uint8_t byte);
  State step_token(const State& state, int32_t token);
  // All returns and calls that can be made from `threads` without reading on.
  State settle(std::vector<Thread> threads);
  // Where the text stands once the call of `frames` is done.
  State after_return(uint32_t frames);
  // The deepest nesting of calls that any thread so far has or will at least need.
  int reach() const { return reach_; }

 private:
  struct Pending {
    int32_t rule;
    std::vector<Thread> frames;
  };
  void add_return(uint32_t frames, std::vector<Thread>& threads, State& out);
  void add_calls(const Thread& thread);
  bool fits(int depth, uint32_t node) {
    reach_ = std::max(reach_, depth + program_.node(node).need);
    return depth + program_.node(node).need <= kMaxCallDepth;
  }

  const Program& program_;
  FrameTable& table_;
  int reach_ = 0;
  std::vector<Pending> pending_;  // calls not yet made, by descending rank of the rule
};

}  // namespace ferry::grammar
