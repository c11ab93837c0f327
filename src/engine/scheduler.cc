// Maps keyed by arrival make both orders free: iteration is first come first served, and a
// preempted sequence returns to its old place in the queue.
#include "engine/scheduler.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/checked_math.h"

namespace ferry::engine {

Scheduler::Scheduler(const SchedulerLimits& limits) : limits_(limits), pool_(limits.num_pages) {
  CHECK(limits.block_size > 0 && limits.max_sequences > 0);
  CHECK(limits.max_batch_tokens >= limits.max_sequences);
}

int64_t Scheduler::pages_for(int64_t tokens) const { return ceil_div(tokens, limits_.block_size); }

bool Scheduler::fits(int64_t max_tokens) const {
  return pages_for(max_tokens) <= limits_.num_pages;
}

void Scheduler::add(SequenceId id, int64_t prompt_tokens, int64_t max_tokens) {
  CHECK(!any_added_ || id > last_id_);
  CHECK(prompt_tokens >= 1 && prompt_tokens <= max_tokens && fits(max_tokens));
  any_added_ = true;
  last_id_ = id;
  waiting_[id] = {
      .prompt_tokens = prompt_tokens, .max_tokens = max_tokens, .num_tokens = prompt_tokens};
}

Schedule Scheduler::next() {
  CHECK(!in_step_);
  in_step_ = true;
  Schedule schedule;
  const int64_t preemptions_before = num_preemptions_;
  schedule_decodes(schedule);
  schedule_prompts(schedule);
  // Who has just made room must not lose it to itself or to a newcomer.
  if (num_preemptions_ == preemptions_before) admit(schedule);
  return schedule;
}

void Scheduler::schedule_decodes(Schedule& schedule) {
  // One token is kept back for every decoding sequence still to come and for the prompts together:
  // a recomputed sequence, which may have many tokens to catch up with, must not starve them.
  int64_t decodes = 0;
  for (const auto& [id, sequence] : running_) decodes += sequence.decoding() ? 1 : 0;
  const bool any_prompt = decodes < static_cast<int64_t>(running_.size());
  int64_t reserved = decodes + (any_prompt ? 1 : 0);
  // A victim is always younger than the sequence at hand, or that one itself: it has no chunk yet.
  for (auto it = running_.begin(); it != running_.end();) {
    const SequenceId id = it->first;
    Sequence& sequence = it->second;
    if (sequence.decoding()) {
      --reserved;
      const int64_t remaining = sequence.num_tokens - sequence.num_computed;
      CHECK(remaining > 0);
      const int64_t budget = limits_.max_batch_tokens - schedule.num_tokens - reserved;
      const int64_t count = std::min(remaining, budget);
      CHECK(count > 0);
      if (grow(id, sequence.num_computed + count)) push_chunk(schedule, id, sequence, count);
    }
    it = running_.upper_bound(id);
  }
}

void Scheduler::schedule_prompts(Schedule& schedule) {
  for (const auto& [id, sequence] : running_) {
    if (sequence.decoding()) continue;
    const int64_t budget = limits_.max_batch_tokens - schedule.num_tokens;
    const int64_t count = std::min(sequence.prompt_tokens - sequence.num_computed, budget);
    if (count > 0) push_chunk(schedule, id, sequence, count);
  }
}

void Scheduler::admit(Schedule& schedule) {
  while (!waiting_.empty() && schedule.num_tokens < limits_.max_batch_tokens &&
         static_cast<int64_t>(running_.size()) < limits_.max_sequences) {
    auto head = waiting_.begin();
    // Room to grow for everyone who runs, or the newcomer would be thrown out again at once.
    const auto spare = static_cast<int64_t>(running_.size());
    if (pages_for(head->second.num_tokens) + spare > pool_.num_free()) return;
    auto node = waiting_.extract(head);
    Sequence& sequence = node.mapped();
    const int64_t num_pages = pages_for(sequence.num_tokens);
    for (int64_t i = 0; i < num_pages; ++i) sequence.pages.push_back(pool_.take());
    const int64_t budget = limits_.max_batch_tokens - schedule.num_tokens;
    push_chunk(schedule, node.key(), sequence, std::min(sequence.prompt_tokens, budget));
    running_.insert(std::move(node));
  }
}

// Pages for the first `tokens` tokens, taken from younger sequences if there is no other way.
// False: the sequence itself was the youngest and had to go.
bool Scheduler::grow(SequenceId id, int64_t tokens) {
  Sequence& sequence = running_.at(id);
  while (static_cast<int64_t>(sequence.pages.size()) < pages_for(tokens)) {
    if (pool_.num_free() > 0) {
      sequence.pages.push_back(pool_.take());
      continue;
    }
    const auto youngest = std::prev(running_.end());
    const bool itself = youngest->first == id;
    preempt(youngest);
    if (itself) return false;
  }
  return true;
}

void Scheduler::preempt(Sequences::iterator victim) {
  CHECK(running_.size() > 1);  // alone, every sequence fits: add() saw to it
  auto node = running_.extract(victim);
  release_pages(node.mapped());
  node.mapped().num_computed = 0;
  waiting_.insert(std::move(node));
  ++num_preemptions_;
}

void Scheduler::release_pages(Sequence& sequence) {
  // Backwards, so that the first page is the first to be taken again.
  for (auto page = sequence.pages.rbegin(); page != sequence.pages.rend(); ++page) {
    pool_.give_back(*page);
  }
  sequence.pages.clear();
}

void Scheduler::push_chunk(Schedule& schedule, SequenceId id, const Sequence& sequence,
                           int64_t count) {
  schedule.chunks.push_back({
      .id = id,
      .begin = sequence.num_computed,
      .count = count,
      .decode = sequence.decoding(),
      .wants_logits = sequence.num_computed + count == sequence.num_tokens,
  });
  schedule.num_tokens += count;
}

void Scheduler::computed(const Schedule& schedule) {
  CHECK(in_step_);
  in_step_ = false;
  for (const Chunk& chunk : schedule.chunks) {
    Sequence& sequence = running_.at(chunk.id);
    CHECK(sequence.num_computed == chunk.begin);
    sequence.num_computed += chunk.count;
  }
}

void Scheduler::append(SequenceId id) {
  CHECK(!in_step_);
  Sequence& sequence = running_.at(id);
  CHECK(sequence.num_computed == sequence.num_tokens && sequence.num_tokens < sequence.max_tokens);
  ++sequence.num_tokens;
}

void Scheduler::remove(SequenceId id) {
  CHECK(!in_step_);
  if (auto it = running_.find(id); it != running_.end()) {
    release_pages(it->second);
    running_.erase(it);
    return;
  }
  CHECK(waiting_.erase(id) == 1);
}

std::span<const int32_t> Scheduler::pages(SequenceId id) const {
  const auto it = running_.find(id);
  return it == running_.end() ? std::span<const int32_t>() : it->second.pages;
}

SchedulerStats Scheduler::stats() const {
  return {static_cast<int64_t>(waiting_.size()), static_cast<int64_t>(running_.size()),
          pool_.num_free(), num_preemptions_};
}

}  // namespace ferry::engine
