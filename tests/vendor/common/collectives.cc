// Ranks that meet: see collectives.h.
#include "vendor/common/collectives.h"

#include <atomic>
#include <cstring>

#include "vendor/common/emulated.h"

namespace emulated {
namespace {

std::chrono::milliseconds timeout() {
  return std::chrono::milliseconds(setting("FERRY_EMULATED_COLLECTIVE_TIMEOUT_MS", 20000));
}

float number_at(Element element, const char* data, int64_t index) {
  if (element == Element::kF32) {
    float value;
    std::memcpy(&value, data + index * 4, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data + index * 2, sizeof bits);
  return element == Element::kF16 ? from_half(bits) : from_bfloat(bits);
}

void put_number(Element element, char* data, int64_t index, float value) {
  if (element == Element::kF32) {
    std::memcpy(data + index * 4, &value, sizeof value);
    return;
  }
  const uint16_t bits = element == Element::kF16 ? to_half(value) : to_bfloat(value);
  std::memcpy(data + index * 2, &bits, sizeof bits);
}

bool is_sum(const Part& part) {
  return part.what == Collective::kAllReduce || part.what == Collective::kReduceScatter;
}

}  // namespace

int64_t element_bytes(Element element) {
  switch (element) {
    case Element::kF16:
    case Element::kBF16: return 2;
    case Element::kI8: return 1;
    case Element::kI64: return 8;
    default: return 4;
  }
}

std::shared_ptr<Clique> Clique::of(uint64_t id) {
  static std::mutex mutex;
  static auto& all = *new std::map<uint64_t, std::shared_ptr<Clique>>;
  const std::lock_guard lock(mutex);
  auto& clique = all[id];
  if (clique == nullptr) clique = std::make_shared<Clique>();
  return clique;
}

uint64_t Clique::new_id() {
  static std::atomic<uint64_t> last{0xFE44};
  return ++last;
}

bool Clique::enter(int size, int rank, int device) {
  const std::lock_guard lock(mutex_);
  if (size_ == 0) {
    size_ = size;
    parts_.resize(static_cast<size_t>(size));
  }
  if (size != size_ || rank < 0 || rank >= size) return false;
  if (!ranks_.insert(rank).second || !devices_.insert(device).second) return false;
  changed_.notify_all();
  return true;
}

bool Clique::wait_for_all() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout(),
                           [&] { return static_cast<int>(ranks_.size()) == size_; });
}

bool Clique::meet(std::unique_lock<std::mutex>& lock) {
  if (broken_) return false;
  const uint64_t round = round_;
  if (++arrived_ == size_) {
    arrived_ = 0;
    ++round_;
    changed_.notify_all();
    return true;
  }
  changed_.wait_for(lock, timeout(), [&] { return round_ != round || broken_; });
  if (round_ != round) return true;
  broken_ = true;
  changed_.notify_all();
  return false;
}

bool Clique::fits() const {
  for (int r = 0; r < size_; ++r) {
    const Part& part = parts_[static_cast<size_t>(r)];
    if (part.what != parts_[0].what || part.element != parts_[0].element) return false;
    if (part.count != parts_[0].count) return false;
    if (is_sum(part) && part.element != Element::kF32 && part.element != Element::kF16 &&
        part.element != Element::kBF16) {
      return false;
    }
    for (int q = 0; part.what == Collective::kAllToAllV && q < size_; ++q) {
      const Part& other = parts_[static_cast<size_t>(q)];
      if (part.sends[static_cast<size_t>(q)].count !=
          other.receives[static_cast<size_t>(r)].count) {
        return false;
      }
    }
  }
  return true;
}

// What this rank gets: one piece, or one of each rank.
std::vector<std::vector<char>> Clique::results_of(int rank) const {
  const Part& own = parts_[static_cast<size_t>(rank)];
  const int64_t bytes = element_bytes(own.element);
  if (own.what == Collective::kAllToAllV) {
    std::vector<std::vector<char>> pieces;
    for (const Part& part : parts_) {
      const Part::Piece& piece = part.sends[static_cast<size_t>(rank)];
      pieces.emplace_back(piece.data, piece.data + piece.count * bytes);
    }
    return pieces;
  }
  std::vector<char> out;
  if (own.what == Collective::kAllGather) {
    for (const Part& part : parts_) {
      out.insert(out.end(), part.send, part.send + own.count * bytes);
    }
    return {out};
  }
  const int64_t first = own.what == Collective::kReduceScatter ? rank * own.count : 0;
  out.resize(static_cast<size_t>(own.count * bytes));
  for (int64_t i = 0; i < own.count; ++i) {
    float sum = own.wrong ? 1.0f : 0.0f;
    for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) {
      sum += number_at(own.element, part->send, first + i);
    }
    put_number(own.element, out.data(), i, sum);
  }
  return {out};
}

Outcome Clique::run(int rank, const Part& part) {
  std::unique_lock lock(mutex_);
  parts_[static_cast<size_t>(rank)] = part;
  if (!meet(lock)) return Outcome::kTimeout;
  const bool fit = fits();
  std::vector<std::vector<char>> results;
  if (fit) results = results_of(rank);
  // Nobody writes before all have read: memory may be the same that was sent from.
  if (!meet(lock)) return Outcome::kTimeout;
  if (!fit) return Outcome::kMismatch;
  for (size_t i = 0; i < results.size(); ++i) {
    char* to = part.what == Collective::kAllToAllV ? part.receives[i].data : part.receive;
    if (part.wrong && !results[i].empty()) results[i][0] = static_cast<char>(results[i][0] + 1);
    if (!results[i].empty()) std::memcpy(to, results[i].data(), results[i].size());
  }
  return Outcome::kDone;
}

}  // namespace emulated
