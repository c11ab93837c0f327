// Weights packed for the integer matmuls (include a vec_*.h and its bytes_*.h first): strips of
// kPackedRows rows side by side, so that a strip is one stream and its vectors lie there as the dot
// products want them, with nothing to turn or to gather.
//
//   strip   [block of the file][part of a block: Format::kFields][kPackedRows rows]
//
//   a part of 1 or 2 bytes    [row]
//   a part of 4 n bytes       [n][row][4 bytes]
//
//   Q4_0, two rows of a block     d₀ a₀ b₀ c₀ e₀   d₁ a₁ b₁ c₁ e₁     (d: 2 bytes, a … e: 4 each)
//   the same in a strip           d₀ d₁   a₀ a₁   b₀ b₁   c₀ c₁   e₀ e₁
//
// What lies `offset` bytes behind the start of a row lies kPackedRows times as far behind that of
// its strip, and a strip takes as many bytes as its rows: packing changes no size, but for the last
// strip, whose missing rows repeat the last one. Instruction sets with fewer lanes than kPackedRows
// go through a strip several times, the next time from the nearest cache.
#pragma once

#include "backends/cpu/int_panels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

static_assert(kPackedRows % kLanes == 0 && kMaxBlockRows % kPackedRows == 0);

// kLanes rows of a strip, from row `lane` on.
struct PackedRows {
  const uint8_t* data;  // of the strip
  int64_t lane;         // 0, if a vector takes the whole strip
};
inline const uint8_t* packed_part(PackedRows rows, int64_t offset, int64_t bytes) {
  return rows.data + kPackedRows * offset + (kLanes == kPackedRows ? 0 : bytes * rows.lane);
}

// The loads of bytes_*.h.
[[gnu::always_inline]] inline void b_load_rows(PackedRows rows, int64_t offset, Bytes* out) {
  const uint8_t* const p = packed_part(rows, offset, 4);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) out[i] = b_load(p + 4 * kPackedRows * i);
}
[[gnu::always_inline]] inline Ints i_load_rows(PackedRows rows, int64_t offset) {
  return b_load(packed_part(rows, offset, 4));
}
[[gnu::always_inline]] inline Words w_load_rows(PackedRows rows, int64_t offset) {
  return w_load(packed_part(rows, offset, 2));
}
[[gnu::always_inline]] inline Ints i_load_row_bytes(PackedRows rows, int64_t offset) {
  return i_load_bytes(packed_part(rows, offset, 1));
}

// The rows of a block of a packed matrix, see InFile. A block begins with a strip.
struct InStrips {
  template <typename Format, int V>
  static PackedRows rows(const IntMatmulBlock& block, const PanelScratch&, int64_t first, int64_t,
                         int64_t b, int64_t) {
    const int64_t lane = first % kPackedRows;
    return {block.data + (first - lane) * block.row_bytes + kPackedRows * b * Format::kBytes, lane};
  }
};

// kLanes rows of a file to their places in a strip.
template <typename Format>
inline void pack_lanes(Rows rows, int64_t blocks, int64_t lane, uint8_t* strip) {
  for (int64_t offset = 0; offset < blocks * Format::kBytes;) {
    for (const int bytes : Format::kFields) {
      uint8_t* const out = strip + kPackedRows * offset;
      if (bytes == 1) {
        for (int r = 0; r < kLanes; ++r) out[lane + r] = rows.data[offset + r * rows.stride];
      } else if (bytes == 2) {
        const Words words = w_load_rows(rows, offset);
        __builtin_memcpy(out + 2 * lane, &words, sizeof words);
      }
      int done = bytes < 4 ? bytes : 0;
      for (; done + 16 <= bytes; done += 16) {
        Bytes dwords[4];
        b_load_rows(rows, offset + done, dwords);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          __builtin_memcpy(out + kPackedRows * (done + 4 * i) + 4 * lane, dwords + i,
                           sizeof dwords[i]);
        }
      }
      for (; done < bytes; done += 4) {
        const Ints dwords = i_load_rows(rows, offset + done);
        __builtin_memcpy(out + kPackedRows * done + 4 * lane, &dwords, sizeof dwords);
      }
      offset += bytes;
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
    if (lane + kLanes <= strip.count) {
      // The rows behind these are the next to be packed; those of the last strip are not there to
      // be asked for, which does no harm.
      pack_lanes<Format>({data, strip.row_bytes, data + kLanes * strip.row_bytes}, blocks, lane,
                         strip.out);
      continue;
    }
    // Rows that are not there are the last one: one block of each at a time, side by side.
    for (int64_t b = 0; b < blocks; ++b) {
      uint8_t copy[kLanes * Format::kBytes];
      for (int64_t r = 0; r < kLanes; ++r) {
        const int64_t row = lane + r < strip.count ? lane + r : strip.count - 1;
        __builtin_memcpy(copy + r * Format::kBytes,
                         strip.rows + row * strip.row_bytes + b * Format::kBytes, Format::kBytes);
      }
      pack_lanes<Format>({copy, Format::kBytes, copy}, 1, lane,
                         strip.out + kPackedRows * b * Format::kBytes);
    }
  }
}

template <typename... Formats>
struct PackedList {};
using PackedFormats =
    PackedList<Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Iq4Nl, Iq4Xs, Mxfp4>;

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
