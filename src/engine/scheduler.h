// The scheduler: which tokens of which sequences the next forward computes, and in which pages of
// the cache. Pure logic: no tensors, no clock, no globals, so that a test drives it for as many
// steps as it likes. It knows lengths and keys of blocks, never tokens.
//
// Policy
//   - Seniority is one total order that never changes: who came earlier is senior; one level of
//     priority is worth as much as having come kHeadStartSteps steps earlier. So urgent requests go
//     first, and none waits for ever: whoever comes later ends up behind it.
//   - Continuous batching: every step takes one chunk of each running sequence (but see below).
//   Decoding sequences
//     come first; what is left of the token budget is shared evenly between the prompts, and what
//     short ones don't need goes to the longer ones. So a long prompt delays the tokens of others
//     by one step's budget at most, and a short prompt beside it begins to answer at once.
//   - A sequence is admitted when all tokens it has now find pages, and every running sequence
//     could still grow by one. Nobody overtakes the head of the queue.
//   - When a decoding sequence finds no page, the most junior running sequence gives up its pages,
//     goes back to the queue and is computed again later. Juniors also yield to a senior one that
//     waits, where that makes room for it. The most senior of all never yields to anybody and gets
//     on in every step, so it always ends, and with it every other.
//   - Full blocks of prompts are published under their keys once they are computed. A newcomer
//     takes the longest beginning that is there; its last token is always computed, as the logits
//     behind it are wanted. One that finds a senior at work on its next block waits for that block,
//     so that what arrives together is computed once, too. Pages that are still written on are
//     never shared. Generated tokens are not published: their bits are those of the decode phase.
//   - Guesses of the next tokens (speculation) fill up what is left of a small step: nobody waits,
//     yields or is thrown out for them, and pages that only they needed are free again once they
//     were judged.
//   - Where a model's windows look back on recent tokens only, these have pages of their own. They
//     are taken as tokens are computed, and given back once no token to come looks back on them;
//     there are always enough of them, so that they have no part in what is said above. A beginning
//     is taken from the cache up to where the pages that its next token looks back on are there,
//     too.
//   - Tokens that a recomputed sequence had generated are computed in the decode phase again (see
//     device/batch.h), so that preemption changes no bit of the result.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/kv_pages.h"

namespace ferry::engine {

using SequenceId = uint64_t;  // ascending in order of arrival

struct SchedulerLimits {
  int64_t block_size = 16;  // tokens per page
  int64_t num_pages = 0;
  int64_t max_batch_tokens = 0;  // >= max_sequences: each running sequence can always take one
  int64_t max_sequences = 0;     // running at once; any number may wait
  // Tokens of a step with guesses in it: beyond, a step costs more than they save. 0: no guesses.
  int64_t max_draft_step_tokens = 0;
  // A token looks back on so many, its own included, in pages of recent tokens. No such pages: 0.
  int64_t recent_tokens = 0;
  // >= what max_sequences look back on and a step computes (nn/memory_plan.h).
  int64_t num_recent_pages = 0;
};

// Tokens [begin, begin + count) of one sequence, all of one phase.
struct Chunk {
  SequenceId id = 0;
  int64_t begin = 0;
  int64_t count = 0;
  bool decode = false;
  bool wants_logits = false;  // the chunk reaches the last token: the next one is sampled from it
  // The last so many are guesses behind the last token: the chunk is that token and them, and
  // logits are wanted of all.
  int64_t drafts = 0;
};

struct Schedule {
  std::vector<Chunk> chunks;  // decode first, each phase by seniority
  int64_t num_tokens = 0;
};

struct SchedulerStats {
  int64_t num_waiting = 0;
  int64_t num_running = 0;
  int64_t num_free_pages = 0;  // that nobody holds
  int64_t num_free_recent_pages = 0;
  int64_t num_preemptions = 0;
  // Prompt tokens of sequences with keys, when first admitted, and how many of them were there.
  int64_t num_prefix_queries = 0;
  int64_t num_prefix_hits = 0;
};

class Scheduler {
 public:
  static constexpr int64_t kHeadStartSteps = 4096;

  explicit Scheduler(const SchedulerLimits& limits);

  // Whether a sequence that grows to `max_tokens` (prompt and output) could run, alone at worst.
  bool fits(int64_t max_tokens) const;

  // `keys`: of the prompt's full blocks from the front; as many as shall be shared.
  // REQUIRES: id larger than any before, 1 <= prompt_tokens <= max_tokens, fits(max_tokens), keys
  // for no more than the full blocks
  void add(SequenceId id, int64_t prompt_tokens, int64_t max_tokens, int priority = 0,
           std::vector<BlockKey> keys = {});

  // The next step; empty if and only if there is no sequence. Call computed() once it has run.
  // REQUIRES: every sequence whose logits were computed got append() or remove() since.
  Schedule next();
  void computed(const Schedule& schedule);

  // Tokens were chosen for the sequence: the first count - 1 are guesses of the last step that
  // turned out right, from the front. REQUIRES: all its tokens are computed, count >= 1, the last
  // step had so many guesses
  void append(SequenceId id, int64_t count = 1);
  // So many guesses could follow the last token. They are forgotten with the next append(); there
  // may be no room for them, or not for all.
  void draft(SequenceId id, int64_t count);
  // The sequence has ended or was cancelled; its pages are free. Not between next() and computed().
  void remove(SequenceId id);

  // Pages of a sequence in order of position; none while it waits.
  std::span<const int32_t> pages(SequenceId id) const;
  // The same of recent tokens, as far as they are scheduled; 0 where a page was given back.
  std::span<const int32_t> recent_pages(SequenceId id) const;
  SchedulerStats stats() const;

 private:
  // Ascending: from senior to junior.
  struct Rank {
    int64_t due = 0;
    SequenceId id = 0;
    auto operator<=>(const Rank&) const = default;
  };
  struct Sequence {
    int64_t prompt_tokens = 0;
    int64_t max_tokens = 0;
    int64_t num_tokens = 0;    // prompt and output
    int64_t num_computed = 0;  // keys of these are in the cache
    int64_t num_drafts = 0;    // guesses that could be checked
    int64_t num_checked = 0;   // of these, computed in the last step
    std::vector<BlockKey> keys;
    std::vector<int32_t> pages;
    std::vector<int32_t> recent;    // pages of recent tokens
    int64_t num_recent_behind = 0;  // of these, from the front: given back
    bool fresh = false;             // nothing was computed since it was admitted
    bool preempted = false;         // at least once

    bool decoding() const { return num_computed >= prompt_tokens; }
  };
  using Sequences = std::map<Rank, Sequence>;
  // A beginning that is in the cache already.
  struct Beginning {
    std::vector<int32_t> pages;
    std::vector<int32_t> recent;  // as many, of which num_recent_behind were not looked for
    int64_t num_recent_behind = 0;
  };

  int64_t pages_for(int64_t tokens) const;
  int64_t num_running() const { return static_cast<int64_t>(running_.size()); }
  bool has_recent_pages() const { return limits_.num_recent_pages > 0; }
  int64_t recent_behind(int64_t blocks) const;
  Beginning known_beginning(const Sequence& sequence) const;
  Beginning with_recent_pages(const Sequence& sequence, std::vector<int32_t> pages) const;
  bool has_room(const Sequence& sequence, int64_t steps) const;
  bool has_room_without_juniors(const Rank& rank, const Sequence& sequence, int64_t steps) const;
  void yield_to_senior();
  void schedule_decodes(Schedule& schedule);
  void admit(const Schedule& schedule);
  void take_known(Sequence& sequence);
  void hold_recent(Sequence& sequence, const Beginning& known);
  void take_recent(Sequence& sequence, int64_t tokens);
  void let_go_behind();
  const BlockKey* next_key(const Sequence& sequence) const;
  void schedule_prompts(Schedule& schedule);
  void schedule_drafts(Schedule& schedule);
  void trim(Sequence& sequence);
  bool grow(const Rank& rank, int64_t tokens);
  void preempt(Sequences::iterator victim);
  void release_pages(Sequence& sequence);
  void release_recent(Sequence& sequence);
  void push_chunk(Schedule& schedule, const Rank& rank, Sequence& sequence, int64_t count);

  SchedulerLimits limits_;
  PagePool pool_;
  PagePool recent_pool_;
  Sequences running_;
  Sequences waiting_;
  std::unordered_map<SequenceId, Rank> ranks_;
  SequenceId last_id_ = 0;
  bool any_added_ = false;
  bool in_step_ = false;
  int64_t num_steps_ = 0;
  int64_t num_preemptions_ = 0;
  int64_t num_prefix_queries_ = 0;
  int64_t num_prefix_hits_ = 0;
};

}  // namespace ferry::engine
