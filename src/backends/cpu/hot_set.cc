// See hot_set.h.
#include "backends/cpu/hot_set.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "base/checked_math.h"
#include "device/host_memory.h"

namespace ferry::cpu {
namespace {

// Reads that go on at once: what it takes to keep a fast disk busy. They sleep most of the time.
constexpr int kReaders = 8;
// Guesses take no more than this part of the memory: they push out what was wanted for certain.
constexpr int64_t kGuessShare = 4;

}  // namespace

ColdWeight::ColdWeight(std::shared_ptr<HotSet> owner, const HostWeight& weight)
    : set(std::move(owner)),
      source(weight.source),
      scales(weight.keep_alive),
      buffer_bytes(round_up(weight.source->buffer_bytes(), WeightSource::kAlignment)) {}

ColdWeight::~ColdWeight() { set->forget(*this); }

HotSet::~HotSet() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (std::thread& reader : readers_) reader.join();
  for (const auto& [bytes, buffer] : spare_) std::free(buffer);
}

void HotSet::set_limit(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  limit_ = bytes;
  make_room(0);
}

Weight HotSet::add(const HostWeight& weight) {
  const auto cold = std::make_shared<ColdWeight>(shared_from_this(), weight);
  Weight placed = weight_in_place(weight);
  placed.view.data = nullptr;
  placed.view.packed = cold.get();
  placed.storage = cold;
  return placed;
}

void HotSet::expect(std::vector<ColdWeight*> weights) {
  const std::lock_guard lock(mutex_);
  expected_.clear();
  if (weights.empty()) guesses_.clear();
  int64_t bytes = 0;
  for (ColdWeight* weight : weights) {
    if (weight->state != ColdWeight::State::kCold) continue;
    bytes += weight->buffer_bytes;
    if (bytes > limit_ / kGuessShare) return;
    expected_.push_back(weight);
  }
}

OnDemandStats HotSet::stats() const {
  const std::lock_guard lock(mutex_);
  OnDemandStats stats = stats_;
  stats.limit_bytes = limit_;
  stats.kept_bytes = used_;
  if (reading_ > 0) {
    stats.read_seconds += std::chrono::duration<double>(Clock::now() - reading_since_).count();
  }
  return stats;
}

void HotSet::start_readers() {
  if (!readers_.empty()) return;
  for (int i = 0; i < kReaders; ++i) readers_.emplace_back([this] { read_loop(); });
}

void HotSet::read_loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [&] { return stopping_ || !wanted_.empty() || !guesses_.empty(); });
    if (stopping_) return;
    const bool guess = wanted_.empty();
    std::deque<ColdWeight*>& queue = guess ? guesses_ : wanted_;
    ColdWeight& weight = *queue.front();
    queue.pop_front();
    if (guess && weight.state != ColdWeight::State::kCold) continue;  // wanted in the meantime
    read_one(weight, guess, lock);
  }
}

void HotSet::read_one(ColdWeight& weight, bool guess, std::unique_lock<std::mutex>& lock) {
  weight.state = ColdWeight::State::kReading;
  weight.guessed = guess;
  weight.buffer = take_buffer(weight.buffer_bytes);
  if (reading_++ == 0) reading_since_ = Clock::now();
  lock.unlock();
  const Result<const uint8_t*> data =
      weight.source->read({weight.buffer, static_cast<size_t>(weight.buffer_bytes)});
  lock.lock();
  if (--reading_ == 0) {
    stats_.read_seconds += std::chrono::duration<double>(Clock::now() - reading_since_).count();
  }
  stats_.read_bytes += weight.buffer_bytes;
  stats_.guesses += guess ? 1 : 0;
  if (data.ok()) {
    weight.state = ColdWeight::State::kHot;
    weight.data = *data;
    weight.place = unused_.end();
    if (weight.pins == 0) weight.place = unused_.insert(unused_.end(), &weight);
  } else {
    weight.state = ColdWeight::State::kCold;
    weight.error = data.error();  // of no interest to anybody if it was a guess
    spare_.emplace(weight.buffer_bytes, std::exchange(weight.buffer, nullptr));
  }
  ready_.notify_all();
}

// The buffer of what is dropped is mostly of the size that is wanted.
uint8_t* HotSet::take_buffer(int64_t bytes) {
  auto spare = spare_.find(bytes);
  if (spare == spare_.end()) {
    make_room(bytes);
    spare = spare_.find(bytes);
  }
  if (spare != spare_.end()) {
    uint8_t* const buffer = spare->second;
    spare_.erase(spare);
    return buffer;
  }
  used_ += bytes;
  void* const memory = std::aligned_alloc(WeightSource::kAlignment, static_cast<size_t>(bytes));
  CHECK(memory != nullptr);
  return static_cast<uint8_t*>(memory);
}

// Drops what was unused for longest until `bytes` more fit, or a buffer of that size is spare.
void HotSet::make_room(int64_t bytes) {
  while (used_ + bytes > limit_) {
    if (spare_.empty()) {
      if (unused_.empty()) return;
      drop(*unused_.front());
      if (spare_.contains(bytes)) return;
    }
    const auto spare = spare_.begin();
    used_ -= spare->first;
    std::free(spare->second);
    spare_.erase(spare);
  }
}

void HotSet::drop(ColdWeight& weight) {
  unused_.erase(weight.place);
  weight.state = ColdWeight::State::kCold;
  weight.data = nullptr;
  spare_.emplace(weight.buffer_bytes, std::exchange(weight.buffer, nullptr));
}

void HotSet::pin(ColdWeight& weight) {
  if (weight.state == ColdWeight::State::kHot) {
    ++stats_.hits;
    if (weight.pins == 0) unused_.erase(weight.place);
  } else {
    ++stats_.misses;
    weight.error.reset();
    if (weight.state == ColdWeight::State::kCold) {
      weight.state = ColdWeight::State::kQueued;
      wanted_.push_back(&weight);
      work_.notify_one();
    }
  }
  ++weight.pins;
  if (std::exchange(weight.guessed, false)) ++stats_.guesses_used;
}

void HotSet::unpin(ColdWeight& weight) {
  if (--weight.pins > 0) return;
  if (weight.state == ColdWeight::State::kHot) {
    weight.place = unused_.insert(unused_.end(), &weight);
    if (used_ > limit_) make_room(0);
  } else if (weight.state == ColdWeight::State::kQueued) {
    std::erase(wanted_, &weight);
    weight.state = ColdWeight::State::kCold;
  }
}

// Nobody knows the weight any more, except perhaps a reader.
void HotSet::forget(ColdWeight& weight) {
  std::unique_lock lock(mutex_);
  CHECK(weight.pins == 0);
  std::erase(guesses_, &weight);
  std::erase(expected_, &weight);
  ready_.wait(lock, [&] { return weight.state != ColdWeight::State::kReading; });
  if (weight.state == ColdWeight::State::kHot) drop(weight);
}

HotReads::HotReads(std::vector<ColdWeight*> wanted)
    : wanted_(std::move(wanted)), stages_(wanted_.size(), Stage::kAhead) {
  for (const ColdWeight* weight : wanted_) {
    if (weight != nullptr) set_ = weight->set.get();
  }
  if (set_ == nullptr) return;
  const std::lock_guard lock(set_->mutex_);
  set_->start_readers();
  // What is there already is not to make room for what is read before its turn comes.
  for (ColdWeight* weight : wanted_) {
    if (weight == nullptr || weight->state != ColdWeight::State::kHot || weight->pins > 0) continue;
    set_->unused_.splice(set_->unused_.end(), set_->unused_, weight->place);
  }
  begin_reads();
  if (set_->expected_.empty()) return;
  set_->guesses_.assign(set_->expected_.begin(), set_->expected_.end());
  set_->expected_.clear();
  set_->work_.notify_all();
}

HotReads::~HotReads() {
  if (set_ == nullptr) return;
  const std::lock_guard lock(set_->mutex_);
  for (size_t i = 0; i < first_ahead_; ++i) {
    const bool held = stages_[i] == Stage::kBegun || stages_[i] == Stage::kGiven;
    if (held && wanted_[i] != nullptr) set_->unpin(*wanted_[i]);
  }
}

// With the lock held.
void HotReads::begin_reads() {
  for (; first_ahead_ < wanted_.size(); ++first_ahead_) {
    ColdWeight* const weight = wanted_[first_ahead_];
    if (weight != nullptr) {
      if (pinned_bytes_ > 0 && pinned_bytes_ + weight->buffer_bytes > set_->limit_) return;
      pinned_bytes_ += weight->buffer_bytes;
      set_->pin(*weight);
    }
    stages_[first_ahead_] = Stage::kBegun;
  }
}

Result<std::span<const size_t>> HotReads::next(size_t begin, size_t end, size_t least) {
  given_.clear();
  if (set_ == nullptr) {
    for (size_t i = begin; i < end; ++i) {
      if (std::exchange(stages_[i], Stage::kGiven) == Stage::kAhead) given_.push_back(i);
    }
    return std::span<const size_t>(given_);
  }
  std::unique_lock lock(set_->mutex_);
  begin_reads();
  const Error* error = nullptr;
  const auto enough = [&] {
    size_t ready = 0, pending = 0;
    for (size_t i = begin; i < end && error == nullptr; ++i) {
      if (stages_[i] != Stage::kBegun) continue;
      const ColdWeight* weight = wanted_[i];
      const bool hot = weight == nullptr || weight->state == ColdWeight::State::kHot;
      if (!hot && weight->error.has_value()) error = &*weight->error;
      ++(hot ? ready : pending);
    }
    return error != nullptr || pending == 0 || ready >= least;
  };
  if (!enough()) {
    const auto start = HotSet::Clock::now();
    set_->ready_.wait(lock, enough);
    set_->stats_.wait_seconds +=
        std::chrono::duration<double>(HotSet::Clock::now() - start).count();
  }
  if (error != nullptr) return *error;
  for (size_t i = begin; i < end; ++i) {
    const ColdWeight* weight = wanted_[i];
    if (stages_[i] != Stage::kBegun) continue;
    if (weight != nullptr && weight->state != ColdWeight::State::kHot) continue;
    stages_[i] = Stage::kGiven;
    given_.push_back(i);
  }
  return std::span<const size_t>(given_);
}

void HotReads::done() {
  if (set_ == nullptr) return;
  const std::lock_guard lock(set_->mutex_);
  for (size_t i : given_) {
    stages_[i] = Stage::kDone;
    if (wanted_[i] == nullptr) continue;
    pinned_bytes_ -= wanted_[i]->buffer_bytes;
    set_->unpin(*wanted_[i]);
  }
  given_.clear();
  begin_reads();
}

}  // namespace ferry::cpu
