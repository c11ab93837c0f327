// The scheduler: which tokens of which sequences the next forward computes, and in which pages of
// the cache. Pure logic: no tensors, no clock, no globals, so that a test drives it for as many
// steps as it likes. It knows lengths, never tokens.
//
// Policy
//   - Continuous batching: every step takes one chunk of each running sequence that fits the token
//     budget. Decoding sequences come first, so that a long prompt delays them by one step's budget
//     at most; prompts fill what is left, first come first served, cut into chunks.
//   - A sequence is admitted when all tokens it has now find pages, and every running sequence
//     could still grow by one. Nobody overtakes the head of the queue.
//   - When a decoding sequence finds no page, the youngest running sequence gives up its pages,
//     goes back to the queue at its old place and is computed again later. The oldest one never
//     yields to anybody, so it always ends, and with it every other.
//   - Tokens that a recomputed sequence had generated are computed in the decode phase again (see
//     device/batch.h), so that preemption changes no bit of the result.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/kv_pages.h"

namespace ferry::engine {

using SequenceId = uint64_t;  // ascending in order of arrival

struct SchedulerLimits {
  int64_t block_size = 16;  // tokens per page
  int64_t num_pages = 0;
  int64_t max_batch_tokens = 0;  // >= max_sequences: each running sequence can always take one
  int64_t max_sequences = 0;     // running at once; any number may wait
};

// Tokens [begin, begin + count) of one sequence, all of one phase.
struct Chunk {
  SequenceId id = 0;
  int64_t begin = 0;
  int64_t count = 0;
  bool decode = false;
  bool wants_logits = false;  // the chunk reaches the last token: the next one is sampled from it
};

struct Schedule {
  std::vector<Chunk> chunks;  // decode first, each phase in order of arrival
  int64_t num_tokens = 0;
};

struct SchedulerStats {
  int64_t num_waiting = 0;
  int64_t num_running = 0;
  int64_t num_free_pages = 0;
  int64_t num_preemptions = 0;  // since the beginning
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits);

  // Whether a sequence that grows to `max_tokens` (prompt and output) could run, alone at worst.
  bool fits(int64_t max_tokens) const;

  // REQUIRES: id larger than any before, 1 <= prompt_tokens <= max_tokens, fits(max_tokens)
  void add(SequenceId id, int64_t prompt_tokens, int64_t max_tokens);

  // The next step; empty if and only if there is no sequence. Call computed() once it has run.
  // REQUIRES: every sequence whose logits were computed got append() or remove() since.
  Schedule next();
  void computed(const Schedule& schedule);

  // A token was chosen for the sequence. REQUIRES: all its tokens are computed.
  void append(SequenceId id);
  // The sequence has ended or was cancelled; its pages are free. Not between next() and computed().
  void remove(SequenceId id);

  // Pages of a sequence in order of position; none while it waits.
  std::span<const int32_t> pages(SequenceId id) const;
  SchedulerStats stats() const;

 private:
  struct Sequence {
    int64_t prompt_tokens = 0;
    int64_t max_tokens = 0;
    int64_t num_tokens = 0;    // prompt and output
    int64_t num_computed = 0;  // keys of these are in the cache
    std::vector<int32_t> pages;

    bool decoding() const { return num_computed >= prompt_tokens; }
  };
  using Sequences = std::map<SequenceId, Sequence>;

  int64_t pages_for(int64_t tokens) const;
  void schedule_decodes(Schedule& schedule);
  void schedule_prompts(Schedule& schedule);
  void admit(Schedule& schedule);
  bool grow(SequenceId id, int64_t tokens);
  void preempt(Sequences::iterator victim);
  void release_pages(Sequence& sequence);
  static void push_chunk(Schedule& schedule, SequenceId id, const Sequence& sequence,
                         int64_t count);

  SchedulerLimits limits_;
  PagePool pool_;
  Sequences running_;
  Sequences waiting_;
  SequenceId last_id_ = 0;
  bool any_added_ = false;
  bool in_step_ = false;
  int64_t num_preemptions_ = 0;
};

}  // namespace ferry::engine
