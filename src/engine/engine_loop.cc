// See engine_loop.h.
#include "engine/engine_loop.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <utility>

#include "base/check.h"

namespace ferry::engine {
namespace {

constexpr int64_t kMaxTexts = 4096;  // to embed, that wait

// Weights are packed for so long before somebody who has come meanwhile is looked for, and behind a
// step for this part of the time it took: nobody waits for it, and it ends under any load.
constexpr double kPackingSeconds = 0.02;
constexpr double kPackingShare = 0.25;

int32_t most_probable(const sample::LogitRow& row) {
  if (row.all.empty()) return row.top.ids.front();
  return static_cast<int32_t>(std::max_element(row.all.begin(), row.all.end()) - row.all.begin());
}

}  // namespace

EngineLoop::EngineLoop(Runner runner, const SchedulerLimits& limits, int64_t max_waiting,
                       Speculation speculation)
    : runner_(std::move(runner)),
      scheduler_(limits),
      block_size_(limits.block_size),
      kv_tokens_(limits.num_pages * limits.block_size),
      max_waiting_(max_waiting),
      speculation_(speculation),
      max_draft_step_tokens_(limits.max_draft_step_tokens),
      bytes_to_pack_(runner_.pack_more(0)) {
  publish_stats();
  thread_ = std::thread([this] { run(); });
}

EngineLoop::~EngineLoop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  doorbell_->ring();
  thread_.join();
}

Result<std::shared_ptr<StreamState>> EngineLoop::submit(GenerationInput input) {
  auto generation = std::make_unique<Generation>(std::move(input), doorbell_);
  CHECK(scheduler_.fits(generation->max_tokens()));
  std::shared_ptr<StreamState> stream = generation->stream();
  {
    std::lock_guard lock(mutex_);
    if (failure_.has_value()) return *failure_;
    const int64_t num_waiting = stats_.num_waiting + static_cast<int64_t>(queue_.size());
    // Texts to embed come in batches that are one request to who sends them.
    const int64_t most = generation->embeds() ? std::max(max_waiting_, kMaxTexts) : max_waiting_;
    if (num_waiting >= most) {
      return busy("{} requests are waiting already, which is the limit; try again later",
                  num_waiting);
    }
    queue_.push_back(std::move(generation));
  }
  doorbell_->ring();
  return stream;
}

EngineStats EngineLoop::stats() const {
  std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.num_waiting += static_cast<int64_t>(queue_.size());
  return stats;
}

void EngineLoop::run() {
  while (take_in()) {
    drop_cancelled();
    if (live_.empty()) {
      publish_stats();
      if (bytes_to_pack_ > 0) {
        pack_more(kPackingSeconds);
      } else {
        doorbell_->wait();
      }
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    step();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    pack_more(kPackingShare * took.count());
    publish_stats();
  }
  for (auto& [id, generation] : live_) generation->cancel();
}

void EngineLoop::pack_more(double seconds) {
  if (bytes_to_pack_ > 0) bytes_to_pack_ = runner_.pack_more(seconds);
}

// False: the engine is going away.
bool EngineLoop::take_in() {
  std::vector<std::unique_ptr<Generation>> arrived;
  bool stopping = false;
  {
    std::lock_guard lock(mutex_);
    arrived.swap(queue_);
    stats_.num_waiting += static_cast<int64_t>(arrived.size());  // they still wait
    stopping = stopping_;
  }
  for (std::unique_ptr<Generation>& generation : arrived) {
    const SequenceId id = ++last_id_;
    scheduler_.add(id, generation->num_prompt_tokens(), generation->max_tokens(),
                   generation->priority(), generation->take_block_keys());
    live_.emplace(id, std::move(generation));
  }
  return !stopping;
}

void EngineLoop::drop_cancelled() {
  for (auto it = live_.begin(); it != live_.end();) {
    const auto current = it++;
    if (!current->second->stream()->cancel_requested()) continue;
    current->second->cancel();
    end(current->first);
  }
}

void EngineLoop::end(SequenceId id) {
  scheduler_.remove(id);
  live_.erase(id);
}

nn::BatchInput EngineLoop::input_of(const Chunk& chunk, Generation& generation) const {
  const auto count = static_cast<size_t>(chunk.count);
  nn::BatchInput input{
      .tokens = {},
      .first_position = chunk.begin,
      .pages = scheduler_.pages(chunk.id),
      .recent_pages = scheduler_.recent_pages(chunk.id),
      .decode = chunk.decode,
      .logits = nn::WantedLogits::kNone,
      .only_top_logits = generation.num_deciding_logits() <= runner_.num_top_logits()};
  if (chunk.drafts > 0) {
    input.tokens = generation.drafter().guessed().first(count);
    input.logits = nn::WantedLogits::kAll;
    return input;
  }
  input.tokens = generation.tokens().subspan(static_cast<size_t>(chunk.begin), count);
  if (chunk.wants_logits && !generation.embeds()) input.logits = nn::WantedLogits::kLast;
  return input;
}

void EngineLoop::step() {
  const Schedule schedule = scheduler_.next();
  CHECK(!schedule.chunks.empty());
  count_step(schedule.num_tokens);
  std::vector<nn::BatchInput> inputs;
  inputs.reserve(schedule.chunks.size());
  std::vector<AnswerConstraint*> constraints;
  bool wants_hidden = false;
  for (const Chunk& chunk : schedule.chunks) {
    Generation& generation = *live_.at(chunk.id);
    generation.computing(chunk.begin);
    inputs.push_back(input_of(chunk, generation));
    wants_hidden |= generation.embeds();
    if (chunk.wants_logits && generation.constraint() != nullptr) {
      constraints.push_back(generation.constraint());
    }
    if (!chunk.decode) prompt_tokens_total_ += chunk.count;
  }
  mask_thread_.start(std::move(constraints));
  runner_.launch(inputs, wants_hidden);
  const Result<std::span<const sample::LogitRow>> logits = runner_.wait();
  mask_thread_.finish();
  scheduler_.computed(schedule);
  if (!logits.ok()) {
    fail_all(logits.error());
    return;
  }
  const std::vector<SequenceId> ended = deliver(schedule, *logits);
  const Status predicted = speculation_ == Speculation::kMtp ? predict(schedule, ended) : Status();
  for (const SequenceId id : ended) end(id);
  if (!predicted.ok()) fail_all(predicted.error());
}

// What the step gave to each: a token, a part of a vector, or nothing yet. Returns who is done.
std::vector<SequenceId> EngineLoop::deliver(const Schedule& schedule,
                                            std::span<const sample::LogitRow> logits) {
  std::vector<SequenceId> ended;
  const auto hidden_size = static_cast<size_t>(runner_.hidden_size());
  size_t row = 0;
  size_t token = 0;
  for (const Chunk& chunk : schedule.chunks) {
    Generation& generation = *live_.at(chunk.id);
    const size_t first = token;
    const auto count = static_cast<size_t>(chunk.count);
    token += count;
    if (generation.embeds()) {
      const auto hidden = runner_.hidden().subspan(first * hidden_size, count * hidden_size);
      if (generation.pool(chunk.begin, hidden, hidden_size)) ended.push_back(chunk.id);
      continue;
    }
    if (!chunk.wants_logits) continue;
    const auto num_rows = static_cast<size_t>(chunk.drafts + 1);
    const Generation::Progress progress = generation.advance(logits.subspan(row, num_rows));
    row += num_rows;
    output_tokens_total_ += progress.num_tokens;
    draft_tokens_total_ += chunk.drafts;
    accepted_tokens_total_ += progress.num_right;
    if (progress.ended) {
      ended.push_back(chunk.id);
      continue;
    }
    scheduler_.append(chunk.id, progress.num_tokens);
    if (speculation_ == Speculation::kPromptLookup) look_up(chunk.id, generation);
  }
  return ended;
}

void EngineLoop::look_up(SequenceId id, Generation& generation) {
  Drafter& drafter = generation.drafter();
  scheduler_.draft(id, drafter.look_up_next(generation.tokens(), drafter.num_wanted()));
}

// Lets the prediction module read on behind a step, and guess where that is wanted. It reads every
// token, or its cache would have gaps; those of prompts even where the answer has ended, as others
// may share their pages. There the last place of a page belongs to who wrote it: the module sees
// the token behind, which is another one for others. That can make a guess worse and no answer
// different.
Status EngineLoop::predict(const Schedule& schedule, std::span<const SequenceId> ended) {
  std::vector<nn::BatchInput> inputs;
  std::vector<int32_t> rows;
  std::vector<SequenceId> asking;
  const bool few = std::ssize(schedule.chunks) < max_draft_step_tokens_;
  int64_t next_row = 0;
  for (const Chunk& chunk : schedule.chunks) {
    const int64_t first_row = next_row;
    next_row += chunk.count;
    Generation& generation = *live_.at(chunk.id);
    const bool has_ended = std::find(ended.begin(), ended.end(), chunk.id) != ended.end();
    // Of these the token behind is known; wrong guesses are not among them.
    const int64_t known = std::ssize(generation.tokens()) - 1 - chunk.begin;
    const int64_t count = std::min(chunk.count, known);
    if (generation.embeds() || (has_ended && chunk.decode) || count == 0) continue;
    const bool asks =
        few && chunk.wants_logits && !has_ended && generation.drafter().num_wanted() > 0;
    inputs.push_back({.tokens = generation.tokens().subspan(static_cast<size_t>(chunk.begin + 1),
                                                            static_cast<size_t>(count)),
                      .first_position = chunk.begin,
                      .pages = scheduler_.pages(chunk.id),
                      .recent_pages = scheduler_.recent_pages(chunk.id),
                      .decode = chunk.decode,
                      .logits = asks ? nn::WantedLogits::kLast : nn::WantedLogits::kNone,
                      .only_top_logits = runner_.num_top_logits() > 0});
    for (int64_t i = 0; i < count; ++i) rows.push_back(static_cast<int32_t>(first_row + i));
    if (asks) asking.push_back(chunk.id);
  }
  if (inputs.empty()) return {};
  runner_.launch_mtp(inputs, rows);
  FERRY_TRY(const std::span<const sample::LogitRow> logits, runner_.wait());
  for (size_t i = 0; i < asking.size(); ++i) {
    Generation& generation = *live_.at(asking[i]);
    generation.drafter().take(generation.tokens().back(), most_probable(logits[i]));
    scheduler_.draft(asking[i], 1);
  }
  return {};
}

void EngineLoop::count_step(int64_t num_tokens) {
  ++num_steps_;
  step_tokens_total_ += num_tokens;
  const auto doublings = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(num_tokens - 1)));
  ++steps_by_tokens_[std::min(doublings, steps_by_tokens_.size() - 1)];
}

// A chip that failed once is not asked again: what it would answer can't be trusted.
void EngineLoop::fail_all(const Error& error) {
  {
    std::lock_guard lock(mutex_);
    failure_ = error;
    for (std::unique_ptr<Generation>& generation : queue_) generation->fail(error);
    queue_.clear();
  }
  while (!live_.empty()) {
    live_.begin()->second->fail(error);
    end(live_.begin()->first);
  }
}

void EngineLoop::publish_stats() {
  const SchedulerStats now = scheduler_.stats();
  std::lock_guard lock(mutex_);
  stats_ = {.num_running = now.num_running,
            .num_waiting = now.num_waiting,
            .kv_tokens_free = now.num_free_pages * block_size_,
            .kv_tokens = kv_tokens_,
            .num_preemptions = now.num_preemptions,
            .bytes_to_pack = bytes_to_pack_,
            .prompt_tokens_total = prompt_tokens_total_,
            .output_tokens_total = output_tokens_total_,
            .prefix_queries_total = now.num_prefix_queries,
            .prefix_hits_total = now.num_prefix_hits,
            .num_steps_total = num_steps_,
            .step_tokens_total = step_tokens_total_,
            .steps_by_tokens = steps_by_tokens_,
            .draft_tokens_total = draft_tokens_total_,
            .accepted_tokens_total = accepted_tokens_total_};
}

}  // namespace ferry::engine
