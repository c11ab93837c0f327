// Byte-pair encoding of one piece: start from single bytes and join the adjacent pair with the
// lowest rank, the leftmost of equals, until no known pair is left.
//
// A piece of n bytes takes O(n log n): short pieces scan an array, long ones keep a heap of
// candidate pairs over a doubly linked list.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace ferry::text {

// (left id, right id) → rank and the joined id: open addressing, at most half full.
class MergeTable {
 public:
  struct Merge {
    int32_t rank;
    int32_t joined;
  };

  explicit MergeTable(size_t num_merges);
  // A pair given twice keeps the last rank.
  void insert(int32_t left, int32_t right, Merge merge);
  const Merge* find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    for (size_t at = slot_of(key);; at = (at + 1) & mask_) {
      if (slots_[at].key == key) return &slots_[at].merge;
      if (slots_[at].key == kEmpty) return nullptr;
    }
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge{};
  };

  static uint64_t key_of(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) |
           static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const {
    return static_cast<size_t>((key * 0x9E3779B97F4A7C15ULL) >> shift_);
  }

  int shift_;
  size_t mask_;
  std::vector<Slot> slots_;
};

// Scratch memory of one encode().
struct BpeScratch {
  struct Symbol {
    int32_t id;  // -1: joined into the symbol before it
    int32_t previous;
    int32_t next;
  };
  struct Candidate {
    int32_t rank;
    int32_t position;
    int32_t left;
    int32_t right;
    int32_t joined;
  };
  std::vector<int32_t> ids;
  std::vector<int32_t> ranks;
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

class Bpe {
 public:
  // byte_ids[b]: the id of the token that is the single byte b, -1 if the vocabulary has none.
  Bpe(std::array<int32_t, 256> byte_ids, MergeTable merges)
      : byte_ids_(byte_ids), merges_(std::move(merges)) {}

  // A whole piece that is in `words` becomes that one token, whatever the merges say.
  void set_whole_words(std::unordered_map<std::string_view, int32_t> words) {
    words_ = std::move(words);
  }

  // Appends the ids of `piece`. Bytes the vocabulary lacks are dropped; the loaders refuse
  // vocabularies that lack a byte of valid UTF-8.
  // REQUIRES: piece.size() < 2^31
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& out) const;

 private:
  void join_short(BpeScratch& scratch) const;
  void join_long(BpeScratch& scratch) const;

  std::array<int32_t, 256> byte_ids_;
  MergeTable merges_;
  std::unordered_map<std::string_view, int32_t> words_;
};

}  // namespace ferry::text
