// Weights packed for the integer matmuls (include a vec_*.h and its bytes_*.h first): strips of
// kPackedRows rows side by side, so that a strip is one stream and its vectors lie there as the dot
// products want them, with nothing to turn or to gather.
//
//   strip   [block of the file][part of a block][kPackedRows rows]
//
// Parts (Format::kFields) lie in the order in which unpack() reads them, so that the processor sees
// one ascending stream and fetches ahead by itself: packed_offset() of a format says where, for
// those that read in another order than they are stored. (Q6_K as it is stored: 13 GB/s of 53.)
//
//   a part of 1 or 2 bytes    [row]
//   a part of 4 n bytes       [n][row][4 bytes]
//
//   Q4_0, two rows of a block     d₀ a₀ b₀ c₀ e₀   d₁ a₁ b₁ c₁ e₁     (d: 2 bytes, a … e: 4 each)
//   the same in a strip           d₀ d₁   a₀ a₁   b₀ b₁   c₀ c₁   e₀ e₁
//
// A strip takes as many bytes as its rows: packing changes no size, but for the last strip, whose
// missing rows repeat the last one. Instruction sets with fewer lanes than kPackedRows go through
// each panel of a strip several times, the next time from the nearest cache.
#pragma once

#include "backends/cpu/int_panels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

static_assert(kPackedRows % kLanes == 0 && kMaxBlockRows % kPackedRows == 0);

// Where in a packed block the part is that lies at `offset` of a block of the file.
template <typename Format>
constexpr int64_t packed_at(int64_t offset) {
  if constexpr (requires { Format::packed_offset(offset); }) {
    return Format::packed_offset(offset);
  } else {
    return offset;
  }
}

// A block of kLanes rows of a strip, from row `lane` on.
template <typename Format, bool kAsk>
struct PackedRows {
  static constexpr bool kOneToken = !kAsk;

  const uint8_t* data;  // of the block
  int64_t lane;         // 0, if a vector takes the whole strip
  int64_t ahead;        // bytes from here to what is read a panel later

  PackedRows block(int64_t number) const {
    return {data + kPackedRows * number * Format::kBytes, lane, ahead};
  }
  // A part of each row, `bytes` long for each.
  const uint8_t* part(int64_t offset, int64_t bytes) const {
    return data + kPackedRows * packed_at<Format>(offset) +
           (kLanes == kPackedRows ? 0 : bytes * lane);
  }
  // p, a vector of a part, once the same of a panel later is asked for: while a panel is multiplied
  // by several tokens the processor forgets that it reads a stream. (Q4_0, 8 tokens, from memory:
  // 12 GB/s without, 18 with. One token gained nothing.)
  const uint8_t* asked(const uint8_t* p) const {
    if constexpr (kAsk) __builtin_prefetch(p + ahead, 0, 2);
    return p;
  }
};

// The loads of bytes_*.h.
template <typename Format, bool kAsk>
[[gnu::always_inline]] inline void b_load_rows(PackedRows<Format, kAsk> rows, int64_t offset,
                                               Bytes* out) {
  const uint8_t* const p = rows.part(offset, 4);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) out[i] = b_load(rows.asked(p + 4 * kPackedRows * i));
}
template <typename Format, bool kAsk>
[[gnu::always_inline]] inline Ints i_load_rows(PackedRows<Format, kAsk> rows, int64_t offset) {
  return b_load(rows.asked(rows.part(offset, 4)));
}
template <typename Format, bool kAsk>
[[gnu::always_inline]] inline Words w_load_rows(PackedRows<Format, kAsk> rows, int64_t offset) {
  return w_load(rows.asked(rows.part(offset, 2)));
}
template <typename Format, bool kAsk>
[[gnu::always_inline]] inline Ints i_load_row_bytes(PackedRows<Format, kAsk> rows, int64_t offset) {
  return i_load_bytes(rows.asked(rows.part(offset, 1)));
}

// The rows of a block of a packed matrix, see InFile. A block begins with a strip.
template <bool kAsk>
struct Strips {
  using OfOneToken = Strips<false>;
  // A strip comes from memory once, and what is read of it in the meantime is a panel.
  template <int V>
  static constexpr int64_t kTurns = V* kLanes < kPackedRows ? kPackedRows / (V * kLanes) : 1;

  template <typename Format, int V>
  static PackedRows<Format, kAsk> rows(const IntMatmulBlock& block, const PanelScratch&,
                                       int64_t first, int64_t, int64_t b, int64_t blocks) {
    const int64_t lane = first % kPackedRows;
    const int64_t left = block.row_bytes - b * Format::kBytes;
    const int64_t panel = blocks * Format::kBytes;
    const int64_t ahead = panel < left ? panel : left + (V - 1) * block.row_bytes;
    const PackedRows<Format, kAsk> strip{block.data + (first - lane) * block.row_bytes, lane,
                                         kPackedRows * ahead};
    return strip.block(b);
  }
  template <typename Format>
  static void unpack(PackedRows<Format, kAsk> rows, int64_t number, const auto& panel) {
    Format::unpack(rows.block(number), 0, panel);
  }
};
using InStrips = Strips<true>;

// A block of kLanes rows of a file to its place in a strip.
template <typename Format>
inline void pack_block(Rows rows, int64_t offset, int64_t lane, uint8_t* out) {
  int64_t at = 0;  // in the block of the file
  for (const int bytes : Format::kFields) {
    const int64_t end = at + bytes;
    if (bytes == 1) {
      uint8_t* const to = out + kPackedRows * packed_at<Format>(at) + lane;
      for (int r = 0; r < kLanes; ++r) to[r] = rows.data[offset + at + r * rows.stride];
      ++at;
    } else if (bytes == 2) {
      const Words words = w_load_rows(rows, offset + at);
      __builtin_memcpy(out + kPackedRows * packed_at<Format>(at) + 2 * lane, &words, sizeof words);
      at += 2;
    }
    for (; at + 16 <= end; at += 16) {
      Bytes dwords[4];
      b_load_rows(rows, offset + at, dwords);
      uint8_t* const to = out + kPackedRows * packed_at<Format>(at) + 4 * lane;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        __builtin_memcpy(to + 4 * kPackedRows * i, dwords + i, sizeof dwords[i]);
      }
    }
    for (; at < end; at += 4) {
      const Ints dwords = i_load_rows(rows, offset + at);
      __builtin_memcpy(out + kPackedRows * packed_at<Format>(at) + 4 * lane, &dwords,
                       sizeof dwords);
    }
  }
}

template <typename Format>
constexpr bool fields_fill_block() {
  int bytes = 0;
  for (const int field : Format::kFields) {
    if (field > 2 && field % 4 != 0) return false;
    bytes += field;
  }
  return bytes == Format::kBytes;
}

template <typename Format>
void pack_strip(const PackStrip& strip) {
  static_assert(fields_fill_block<Format>());
  const int64_t blocks = strip.cols / Format::kElements;
  for (int64_t lane = 0; lane < kPackedRows; lane += kLanes) {
    const uint8_t* const data = strip.rows + lane * strip.row_bytes;
    const bool whole = lane + kLanes <= strip.count;
    // Those behind are the next to be packed. Behind the last strip nothing is read, only asked
    // for.
    const Rows rows{data, strip.row_bytes, data + kLanes * strip.row_bytes};
    for (int64_t b = 0; b < blocks; ++b) {
      uint8_t* const out = strip.out + kPackedRows * b * Format::kBytes;
      if (whole) {
        pack_block<Format>(rows, b * Format::kBytes, lane, out);
        continue;
      }
      // Rows that are not there are the last one.
      uint8_t copy[kLanes * Format::kBytes];
      for (int64_t r = 0; r < kLanes; ++r) {
        const int64_t row = lane + r < strip.count ? lane + r : strip.count - 1;
        __builtin_memcpy(copy + r * Format::kBytes,
                         strip.rows + row * strip.row_bytes + b * Format::kBytes, Format::kBytes);
      }
      pack_block<Format>({copy, Format::kBytes, copy}, 0, lane, out);
    }
  }
}

template <typename... Formats>
struct PackedList {};
using PackedFormats =
    PackedList<Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Iq4Nl, Iq4Xs, Mxfp4>;

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
