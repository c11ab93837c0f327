// See bpe.h.
#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/check.h"

namespace ferry::text {
namespace {

// Up to here the quadratic scan of a short array beats a heap.
constexpr size_t kShortPiece_symbols = 48;
constexpr int32_t kNoRank = std::numeric_limits<int32_t>::max();

// For std::push_heap: the top is the lowest rank, the leftmost of equals.
bool comes_later(const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

MergeTable::MergeTable(size_t num_merges) {
  const size_t num_slots = std::bit_ceil(std::max<size_t>(16, num_merges * 2));
  shift_ = 64 - std::countr_zero(num_slots);
  mask_ = num_slots - 1;
  slots_.resize(num_slots);
}

void MergeTable::insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = key_of(left, right);
  CHECK(key != kEmpty);
  for (size_t at = slot_of(key);; at = (at + 1) & mask_) {
    if (slots_[at].key != kEmpty && slots_[at].key != key) continue;
    slots_[at] = {key, merge};
    return;
  }
}

void Bpe::encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& out) const {
  CHECK(piece.size() <= static_cast<size_t>(std::numeric_limits<int32_t>::max()));
  if (!words_.empty()) {
    if (auto word = words_.find(piece); word != words_.end()) {
      out.push_back(word->second);
      return;
    }
  }
  scratch.ids.clear();
  for (char byte : piece) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(byte)];
    if (id >= 0) scratch.ids.push_back(id);
  }
  if (scratch.ids.size() > kShortPiece_symbols) {
    join_long(scratch);
  } else if (scratch.ids.size() > 1) {
    join_short(scratch);
  }
  out.insert(out.end(), scratch.ids.begin(), scratch.ids.end());
}

void Bpe::join_short(BpeScratch& scratch) const {
  auto& ids = scratch.ids;
  auto& ranks = scratch.ranks;  // ranks[i]: of the pair (i, i + 1)
  const auto rank_at = [&](size_t i) {
    const MergeTable::Merge* merge = merges_.find(ids[i], ids[i + 1]);
    return merge == nullptr ? kNoRank : merge->rank;
  };
  ranks.resize(ids.size() - 1);
  for (size_t i = 0; i < ranks.size(); ++i) ranks[i] = rank_at(i);
  while (!ranks.empty()) {
    const size_t best = std::min_element(ranks.begin(), ranks.end()) - ranks.begin();
    if (ranks[best] == kNoRank) return;
    ids[best] = merges_.find(ids[best], ids[best + 1])->joined;
    ids.erase(ids.begin() + best + 1);
    ranks.erase(ranks.begin() + best);
    if (best > 0) ranks[best - 1] = rank_at(best - 1);
    if (best < ranks.size()) ranks[best] = rank_at(best);
  }
}

void Bpe::join_long(BpeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  const auto count = static_cast<int32_t>(scratch.ids.size());
  symbols.resize(count);
  heap.clear();
  for (int32_t i = 0; i < count; ++i) {
    symbols[i] = {scratch.ids[i], i - 1, i + 1 < count ? i + 1 : -1};
  }
  const auto candidate_at = [&](int32_t position) {
    const int32_t next = position < 0 ? -1 : symbols[position].next;
    if (next < 0) return;
    const int32_t left = symbols[position].id;
    const int32_t right = symbols[next].id;
    if (const MergeTable::Merge* merge = merges_.find(left, right)) {
      heap.push_back({merge->rank, position, left, right, merge->joined});
    }
  };
  for (int32_t i = 0; i + 1 < count; ++i) candidate_at(i);
  std::make_heap(heap.begin(), heap.end(), comes_later);
  const auto push_at = [&](int32_t position) {
    const size_t before = heap.size();
    candidate_at(position);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), comes_later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), comes_later);
    const BpeScratch::Candidate top = heap.back();
    heap.pop_back();
    BpeScratch::Symbol& symbol = symbols[top.position];
    // Stale if either side has been joined to something else meanwhile.
    if (symbol.id != top.left || symbol.next < 0 || symbols[symbol.next].id != top.right) continue;
    BpeScratch::Symbol& gone = symbols[symbol.next];
    symbol.id = top.joined;
    symbol.next = gone.next;
    gone.id = -1;
    if (symbol.next >= 0) symbols[symbol.next].previous = top.position;
    push_at(symbol.previous);
    push_at(top.position);
  }
  scratch.ids.clear();
  for (int32_t i = 0; i >= 0; i = symbols[i].next) scratch.ids.push_back(symbols[i].id);
}

}  // namespace ferry::text
