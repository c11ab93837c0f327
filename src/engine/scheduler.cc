// Maps keyed by seniority make all orders free: iteration goes from senior to junior, and a
// preempted sequence returns to its old place in the queue.
#include "engine/scheduler.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/checked_math.h"

namespace ferry::engine {
namespace {

// Shares `budget` between those who want that much, in order of seniority: one token each as long
// as there are some, then evenly; what short ones don't want goes to the others.
std::vector<int64_t> share(const std::vector<int64_t>& wants, int64_t budget) {
  std::vector<int64_t> shares(wants.size(), 0);
  for (int64_t& mine : shares) {
    mine = std::min<int64_t>(budget, 1);
    budget -= mine;
  }
  std::vector<size_t> order(wants.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return wants[a] < wants[b]; });
  for (size_t i = 0; i < order.size(); ++i) {
    const auto left = static_cast<int64_t>(order.size() - i);
    const int64_t more = std::min(wants[order[i]] - shares[order[i]], budget / left);
    shares[order[i]] += more;
    budget -= more;
  }
  // What the divisions left over.
  for (size_t i = 0; i < wants.size(); ++i) {
    const int64_t more = std::min(wants[i] - shares[i], budget);
    shares[i] += more;
    budget -= more;
  }
  return shares;
}

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits)
    : limits_(limits), pool_(limits.num_pages), recent_pool_(limits.num_recent_pages) {
  CHECK(!has_recent_pages() || limits.recent_tokens > 0);
  CHECK(limits.block_size > 0 && limits.max_sequences > 0);
  CHECK(limits.max_batch_tokens >= limits.max_sequences);
}

int64_t Scheduler::pages_for(int64_t tokens) const { return ceil_div(tokens, limits_.block_size); }

bool Scheduler::fits(int64_t max_tokens) const {
  return pages_for(max_tokens) <= limits_.num_pages;
}

void Scheduler::add(SequenceId id, int64_t prompt_tokens, int64_t max_tokens, int priority,
                    std::vector<BlockKey> keys) {
  CHECK(!any_added_ || id > last_id_);
  CHECK(prompt_tokens >= 1 && prompt_tokens <= max_tokens && fits(max_tokens));
  CHECK(static_cast<int64_t>(keys.size()) <= prompt_tokens / limits_.block_size);
  any_added_ = true;
  last_id_ = id;
  const Rank rank{num_steps_ - priority * kHeadStartSteps, id};
  ranks_.emplace(id, rank);
  Sequence& sequence = waiting_[rank];
  sequence.prompt_tokens = prompt_tokens;
  sequence.max_tokens = max_tokens;
  sequence.num_tokens = prompt_tokens;
  sequence.keys = std::move(keys);
}

Schedule Scheduler::next() {
  CHECK(!in_step_);
  in_step_ = true;
  ++num_steps_;
  Schedule schedule;
  let_go_behind();
  yield_to_senior();
  const int64_t preemptions_before = num_preemptions_;
  schedule_decodes(schedule);
  // Who has just made room must not lose it to itself or to a newcomer.
  if (num_preemptions_ == preemptions_before) admit(schedule);
  schedule_prompts(schedule);
  schedule_drafts(schedule);
  return schedule;
}

// How many blocks from the front no token behind `blocks` blocks looks back on.
int64_t Scheduler::recent_behind(int64_t blocks) const {
  const int64_t next = blocks * limits_.block_size;
  return std::max<int64_t>(0, next + 1 - limits_.recent_tokens) / limits_.block_size;
}

// Pages that hold the beginning of the prompt already; never its last token.
Scheduler::Beginning Scheduler::known_beginning(const Sequence& sequence) const {
  const int64_t most = (sequence.prompt_tokens - 1) / limits_.block_size;
  std::vector<int32_t> pages;
  for (const BlockKey& key : sequence.keys) {
    const int32_t page = static_cast<int64_t>(pages.size()) < most ? pool_.find(key) : -1;
    if (page < 0) break;
    pages.push_back(page);
  }
  if (!has_recent_pages()) return {std::move(pages), {}, 0};
  return with_recent_pages(sequence, std::move(pages));
}

// As many of `pages` as leave the next token all that it looks back on.
Scheduler::Beginning Scheduler::with_recent_pages(const Sequence& sequence,
                                                  std::vector<int32_t> pages) const {
  Beginning known;
  size_t num_known = 0;
  size_t first = 0;  // of those found without a gap
  for (size_t block = 0; block < pages.size(); ++block) {
    known.recent.push_back(recent_pool_.find(sequence.keys[block]));
    if (known.recent.back() < 0) first = block + 1;
    const int64_t behind = recent_behind(static_cast<int64_t>(block + 1));
    if (first > static_cast<size_t>(behind)) continue;
    num_known = block + 1;
    known.num_recent_behind = behind;
  }
  pages.resize(num_known);
  known.recent.resize(num_known);
  std::fill_n(known.recent.begin(), known.num_recent_behind, 0);
  known.pages = std::move(pages);
  return known;
}

// A place, pages for all its tokens, and room to grow `steps` times for everyone who runs: or the
// newcomer would be thrown out again at once.
bool Scheduler::has_room(const Sequence& sequence, int64_t steps) const {
  if (num_running() >= limits_.max_sequences) return false;
  int64_t wanted = pages_for(sequence.num_tokens) + steps * num_running();
  for (const int32_t page : known_beginning(sequence).pages) {
    if (pool_.num_holders(page) > 0) --wanted;
  }
  return wanted <= pool_.num_free();
}

// The same once all that are junior to it have gone.
bool Scheduler::has_room_without_juniors(const Rank& rank, const Sequence& sequence,
                                         int64_t steps) const {
  std::unordered_map<int32_t, int32_t> holders;  // that would go, by page
  int64_t free = pool_.num_free();
  int64_t seniors = num_running();
  for (auto it = running_.upper_bound(rank); it != running_.end(); ++it) {
    --seniors;
    for (const int32_t page : it->second.pages) {
      if (++holders[page] == pool_.num_holders(page)) ++free;
    }
  }
  int64_t wanted = pages_for(sequence.num_tokens) + steps * seniors;
  for (const int32_t page : known_beginning(sequence).pages) {
    const auto found = holders.find(page);
    const int32_t going = found == holders.end() ? 0 : found->second;
    if (pool_.num_holders(page) > going) --wanted;
  }
  return seniors < limits_.max_sequences && wanted <= free;
}

void Scheduler::yield_to_senior() {
  if (waiting_.empty() || running_.empty()) return;
  const auto& [rank, sequence] = *waiting_.begin();
  // The others grow once more before it is admitted.
  constexpr int64_t kSteps = 2;
  if (!(rank < running_.rbegin()->first) || has_room(sequence, kSteps)) return;
  if (!has_room_without_juniors(rank, sequence, kSteps)) return;
  // Those who yield come behind it in the queue.
  while (!has_room(sequence, kSteps)) preempt(std::prev(running_.end()));
}

void Scheduler::schedule_decodes(Schedule& schedule) {
  // One token is kept back for every running sequence still to come, and for one to be admitted: a
  // recomputed sequence, which may have many tokens to catch up with, must not starve them.
  int64_t reserved = num_running();
  if (!waiting_.empty() && reserved < limits_.max_sequences) ++reserved;
  // A victim is always junior to the sequence at hand, or that one itself: it has no chunk yet.
  for (auto it = running_.begin(); it != running_.end();) {
    const Rank rank = it->first;
    Sequence& sequence = it->second;
    if (sequence.decoding()) {
      --reserved;
      const int64_t remaining = sequence.num_tokens - sequence.num_computed;
      CHECK(remaining > 0);
      const int64_t budget = limits_.max_batch_tokens - schedule.num_tokens - reserved;
      const int64_t count = std::min(remaining, budget);
      CHECK(count > 0);
      if (grow(rank, sequence.num_computed + count)) push_chunk(schedule, rank, sequence, count);
    }
    it = running_.upper_bound(rank);
  }
}

// Newcomers begin in this step: with the decoding sequences' tokens and one for each prompt that
// runs already there must be a token left.
void Scheduler::admit(const Schedule& schedule) {
  int64_t num_prompts = num_running() - static_cast<int64_t>(schedule.chunks.size());
  while (!waiting_.empty() && schedule.num_tokens + num_prompts < limits_.max_batch_tokens &&
         has_room(waiting_.begin()->second, 1)) {
    auto node = waiting_.extract(waiting_.begin());
    Sequence& sequence = node.mapped();
    const Beginning known = known_beginning(sequence);
    sequence.pages = known.pages;
    for (const int32_t page : sequence.pages) pool_.hold(page);
    hold_recent(sequence, known);
    sequence.num_computed = static_cast<int64_t>(sequence.pages.size()) * limits_.block_size;
    sequence.fresh = true;
    if (!sequence.preempted && !sequence.keys.empty()) {
      num_prefix_queries_ += sequence.prompt_tokens;
      num_prefix_hits_ += sequence.num_computed;
    }
    const auto num_pages = static_cast<size_t>(pages_for(sequence.num_tokens));
    while (sequence.pages.size() < num_pages) sequence.pages.push_back(pool_.take());
    ++num_prompts;
    running_.insert(std::move(node));
  }
}

// What others have published of its prompt since it was admitted, in place of its own pages.
void Scheduler::take_known(Sequence& sequence) {
  const Beginning known = known_beginning(sequence);
  auto block = static_cast<size_t>(sequence.num_computed / limits_.block_size);
  if (block >= known.pages.size()) return;
  for (; block < known.pages.size(); ++block) {
    pool_.hold(known.pages[block]);
    pool_.give_back(sequence.pages[block]);
    sequence.pages[block] = known.pages[block];
    sequence.num_computed += limits_.block_size;
    if (!sequence.preempted) num_prefix_hits_ += limits_.block_size;
  }
  hold_recent(sequence, known);
}

// In place of those of a shorter beginning.
void Scheduler::hold_recent(Sequence& sequence, const Beginning& known) {
  const auto behind = static_cast<size_t>(known.num_recent_behind);
  for (size_t i = behind; i < known.recent.size(); ++i) recent_pool_.hold(known.recent[i]);
  release_recent(sequence);
  sequence.recent = known.recent;
  sequence.num_recent_behind = known.num_recent_behind;
}

void Scheduler::take_recent(Sequence& sequence, int64_t tokens) {
  if (!has_recent_pages()) return;
  while (std::ssize(sequence.recent) < pages_for(tokens)) {
    sequence.recent.push_back(recent_pool_.take());
  }
}

// Pages of recent tokens that no token to come looks back on. Those that one behind the last full
// block would look back on stay, so that others may go on from there.
void Scheduler::let_go_behind() {
  if (!has_recent_pages()) return;
  for (auto& [rank, sequence] : running_) {
    const int64_t behind = recent_behind(sequence.num_computed / limits_.block_size);
    for (int64_t& block = sequence.num_recent_behind; block < behind; ++block) {
      int32_t& page = sequence.recent[static_cast<size_t>(block)];
      recent_pool_.give_back(std::exchange(page, 0));
    }
  }
}

// The block that holds the next token to compute; nullptr: nobody else can have use of it.
const BlockKey* Scheduler::next_key(const Sequence& sequence) const {
  const auto block = static_cast<size_t>(sequence.num_computed / limits_.block_size);
  return block < sequence.keys.size() ? &sequence.keys[block] : nullptr;
}

void Scheduler::schedule_prompts(Schedule& schedule) {
  std::vector<Sequences::iterator> prompts;
  std::vector<int64_t> wants;
  std::unordered_set<BlockKey, BlockKeyHash> coming;  // blocks that seniors are at
  for (auto it = running_.begin(); it != running_.end(); ++it) {
    Sequence& sequence = it->second;
    if (sequence.decoding()) continue;
    if (sequence.fresh) take_known(sequence);
    const BlockKey* key = next_key(sequence);
    const bool is_first = key == nullptr || coming.insert(*key).second;
    const bool may_wait =
        sequence.num_computed + limits_.block_size < sequence.prompt_tokens && sequence.fresh;
    if (!is_first && may_wait) continue;
    prompts.push_back(it);
    wants.push_back(sequence.prompt_tokens - sequence.num_computed);
  }
  const auto shares = share(wants, limits_.max_batch_tokens - schedule.num_tokens);
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (shares[i] == 0) continue;
    push_chunk(schedule, prompts[i]->first, prompts[i]->second, shares[i]);
    prompts[i]->second.fresh = false;
  }
}

// Only for those who are one token behind: who catches up has no use for more.
void Scheduler::schedule_drafts(Schedule& schedule) {
  const int64_t most = std::min(limits_.max_batch_tokens, limits_.max_draft_step_tokens);
  if (schedule.num_tokens >= most) return;
  std::vector<Chunk*> chunks;
  std::vector<int64_t> wants;
  for (Chunk& chunk : schedule.chunks) {
    const Sequence& sequence = running_.at(ranks_.at(chunk.id));
    // The step chooses one token more than guesses are right.
    const int64_t room = sequence.max_tokens - sequence.num_tokens - 1;
    const int64_t count = std::min(sequence.num_drafts, room);
    if (count <= 0 || !chunk.decode || !chunk.wants_logits || chunk.count != 1) continue;
    chunks.push_back(&chunk);
    wants.push_back(count);
  }
  const auto shares = share(wants, most - schedule.num_tokens);
  for (size_t i = 0; i < chunks.size(); ++i) {
    Sequence& sequence = running_.at(ranks_.at(chunks[i]->id));
    const int64_t end = sequence.num_tokens + shares[i];
    while (static_cast<int64_t>(sequence.pages.size()) < pages_for(end) && pool_.num_free() > 0) {
      sequence.pages.push_back(pool_.take());
    }
    const int64_t places = static_cast<int64_t>(sequence.pages.size()) * limits_.block_size;
    chunks[i]->drafts = std::min(shares[i], places - sequence.num_tokens);
    take_recent(sequence, sequence.num_tokens + chunks[i]->drafts);
    chunks[i]->count += chunks[i]->drafts;
    schedule.num_tokens += chunks[i]->drafts;
  }
}

// Pages for the first `tokens` tokens, taken from junior sequences if there is no other way.
// False: the sequence itself was the most junior and had to go.
bool Scheduler::grow(const Rank& rank, int64_t tokens) {
  Sequence& sequence = running_.at(rank);
  while (static_cast<int64_t>(sequence.pages.size()) < pages_for(tokens)) {
    if (pool_.num_free() > 0) {
      sequence.pages.push_back(pool_.take());
      continue;
    }
    CHECK(running_.size() > 1);  // alone, every sequence fits: add() saw to it
    const auto victim = std::prev(running_.end());
    const bool itself = victim->first == rank;
    preempt(victim);
    if (itself) return false;
  }
  return true;
}

void Scheduler::preempt(Sequences::iterator victim) {
  auto node = running_.extract(victim);
  release_pages(node.mapped());
  node.mapped().num_computed = 0;
  node.mapped().preempted = true;
  waiting_.insert(std::move(node));
  ++num_preemptions_;
}

void Scheduler::release_pages(Sequence& sequence) {
  // Backwards, so that the first page is the first to be taken again and the last to be forgotten:
  // without it those behind it can't be found.
  for (auto page = sequence.pages.rbegin(); page != sequence.pages.rend(); ++page) {
    pool_.give_back(*page);
  }
  sequence.pages.clear();
  release_recent(sequence);
}

void Scheduler::release_recent(Sequence& sequence) {
  for (auto i = std::ssize(sequence.recent); i-- > sequence.num_recent_behind;) {
    recent_pool_.give_back(sequence.recent[static_cast<size_t>(i)]);
  }
  sequence.recent.clear();
  sequence.num_recent_behind = 0;
}

// Gives back the pages that only guesses needed.
void Scheduler::trim(Sequence& sequence) {
  while (static_cast<int64_t>(sequence.pages.size()) > pages_for(sequence.num_tokens)) {
    pool_.give_back(sequence.pages.back());
    sequence.pages.pop_back();
  }
  while (std::ssize(sequence.recent) > pages_for(sequence.num_tokens)) {
    recent_pool_.give_back(sequence.recent.back());
    sequence.recent.pop_back();
  }
}

void Scheduler::push_chunk(Schedule& schedule, const Rank& rank, Sequence& sequence,
                           int64_t count) {
  take_recent(sequence, sequence.num_computed + count);
  schedule.chunks.push_back({
      .id = rank.id,
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
    Sequence& sequence = running_.at(ranks_.at(chunk.id));
    CHECK(sequence.num_computed == chunk.begin);
    sequence.num_computed += chunk.count - chunk.drafts;
    sequence.num_checked = chunk.drafts;
    const auto full = static_cast<size_t>(sequence.num_computed / limits_.block_size);
    for (auto block = static_cast<size_t>(chunk.begin / limits_.block_size);
         block < std::min(full, sequence.keys.size()); ++block) {
      pool_.publish(sequence.pages[block], sequence.keys[block]);
      if (has_recent_pages()) {
        recent_pool_.publish(sequence.recent[block], sequence.keys[block]);
      }
    }
  }
}

void Scheduler::append(SequenceId id, int64_t count) {
  CHECK(!in_step_);
  Sequence& sequence = running_.at(ranks_.at(id));
  CHECK(sequence.num_computed == sequence.num_tokens);
  CHECK(count >= 1 && count - 1 <= sequence.num_checked);
  CHECK(sequence.num_tokens + count <= sequence.max_tokens);
  sequence.num_tokens += count;
  sequence.num_computed += count - 1;
  sequence.num_drafts = sequence.num_checked = 0;
  trim(sequence);
}

void Scheduler::draft(SequenceId id, int64_t count) {
  CHECK(!in_step_ && count >= 0);
  running_.at(ranks_.at(id)).num_drafts = count;
}

void Scheduler::remove(SequenceId id) {
  CHECK(!in_step_);
  const auto rank = ranks_.extract(id);
  CHECK(!rank.empty());
  if (auto it = running_.find(rank.mapped()); it != running_.end()) {
    release_pages(it->second);
    running_.erase(it);
    return;
  }
  CHECK(waiting_.erase(rank.mapped()) == 1);
}

std::span<const int32_t> Scheduler::pages(SequenceId id) const {
  const auto it = running_.find(ranks_.at(id));
  return it == running_.end() ? std::span<const int32_t>() : it->second.pages;
}

std::span<const int32_t> Scheduler::recent_pages(SequenceId id) const {
  const auto it = running_.find(ranks_.at(id));
  return it == running_.end() ? std::span<const int32_t>() : it->second.recent;
}

SchedulerStats Scheduler::stats() const {
  return {.num_waiting = static_cast<int64_t>(waiting_.size()),
          .num_running = num_running(),
          .num_free_pages = pool_.num_free(),
          .num_free_recent_pages = recent_pool_.num_free(),
          .num_preemptions = num_preemptions_,
          .num_prefix_queries = num_prefix_queries_,
          .num_prefix_hits = num_prefix_hits_};
}

}  // namespace ferry::engine
