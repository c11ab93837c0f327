// The integer matmul of few tokens (include a vec_*.h and its bytes_*.h first): weights are
// multiplied in the registers they are unpacked to, and only their sums are written down, one
// integer a group and row: lane r is row r, as in int_matmul.h. There are two ways to come by it.
//
// One token and groups of 32: 16 bytes of each row lie in a quarter of a vector,
//
//   v_0 │ row 0 │ row 4 │ row 8 │ row 12 │   dot_i += v_i · x, the same 16 numbers for each row;
//   v_1 │ row 1 │ row 5 │ row 9 │ row 13 │   after a group the four lanes of each row are added
//   v_2 │ row 2 │  ...                       up
//   v_3 │ row 3 │
//
// Otherwise they are turned as for a panel (int_unpack.h), so that a vector holds four neighbours
// of each row, and nothing is left to add up.
//
// Per 512 weights of four bits and one token (AVX-512): 16 loads, 12 of them inserted, 12 to take
// nibbles apart, 8 dot products, 9 to add up, 3 for the scales, and 16 loads of the scales. Turned
// it is 8 in the place of the 9, but for each 16 bytes of a row: as many with four bits, twice as
// many with eight. A second token costs 8 dot products and 3 for the scales.
#pragma once

#include <type_traits>

#include "backends/cpu/int_panels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

constexpr int64_t kRowTokens = 4;
// Of packed weights in groups of 32, which are cheap to unpack: up to here that is quicker than to
// write a panel and read it back.
constexpr int64_t kMostRowTokens = 8;

// Quads: 16 bytes of each row in a quarter of a vector. All of what unpacks weights for either way.
struct Quads {
  [[gnu::always_inline]] static void load(auto rows, int64_t offset, Bytes* out) {
    b_load_quads(rows, offset, out);
  }
  template <typename Piece>
  [[gnu::always_inline]] static void make(Rows rows, int64_t offset, Piece piece, Bytes* out) {
    b_quads_of(rows, offset, piece, out);
  }
  static Bytes bits_of(Ints bits, int j) {
    // Row 4 b + i is dword i of quarter b; two of its bytes, those of the first 16 numbers or the
    // others, eight times each.
    alignas(16) static constexpr uint8_t kSpread[8][16] = {
        {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1},
        {4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5},
        {8, 8, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 9, 9, 9, 9},
        {12, 12, 12, 12, 12, 12, 12, 12, 13, 13, 13, 13, 13, 13, 13, 13},
        {2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3},
        {6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7},
        {10, 10, 10, 10, 10, 10, 10, 10, 11, 11, 11, 11, 11, 11, 11, 11},
        {14, 14, 14, 14, 14, 14, 14, 14, 15, 15, 15, 15, 15, 15, 15, 15}};
    alignas(16) static constexpr uint8_t kBitOf[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                                       1, 2, 4, 8, 16, 32, 64, 128};
    return b_and(b_look_up(bits, b_table(kSpread[j])), b_table(kBitOf));
  }

  template <typename Format>
  [[gnu::always_inline]] static Ints multiply(const Bytes* w, const QuantRows& x,
                                              const uint8_t* token, int64_t group) {
    // A quarter of what is taken off, as four lanes are added up.
    const Ints start = negative_offset<Format, 4>(x, token, group);
    Dot<Format::kBits> sums[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) sums[i].start(start);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const Bytes numbers = b_set16(token + group * kQuantGroup + 16 * half);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sums[i].add(w[4 * half + i], numbers);
    }
    return i_add_quads(sums[0].total(), sums[1].total(), sums[2].total(), sums[3].total());
  }
};

// The same of weights that are turned: four neighbours of each row.
struct Turned {
  [[gnu::always_inline]] static void load(auto rows, int64_t offset, Bytes* out) {
    b_load_rows(rows, offset, out);
  }
  template <typename Piece>
  [[gnu::always_inline]] static void make(Rows rows, int64_t offset, Piece piece, Bytes* out) {
    Bytes v[4];
    b_quads_of(rows, offset, piece, v);
    b_turn_quads(v, out);
  }
  static Bytes bits_of(Ints bits, int j) { return Panel::bits_of(bits, j); }

  template <typename Format>
  [[gnu::always_inline]] static Ints multiply(const Bytes* w, const QuantRows& x,
                                              const uint8_t* token, int64_t group) {
    const uint8_t* numbers = token + group * Format::kGroup;
    Dot<Format::kBits> sum;
    sum.start(negative_offset<Format>(x, token, group));
#pragma GCC unroll 8
    for (int j = 0; j < Format::kGroup / 4; ++j) {
      sum.add(w[j], b_set4(numbers + 4 * j));
      if (j % 2 == 1) sum.flush(j + 1);
    }
    return sum.total();
  }
};

// Takes weights like Panel, and keeps their products.
template <typename Format, typename Layout>
struct RowPanel {
  const QuantRows& x;
  const uint8_t* const* tokens;  // [count] rows of x
  int count;
  int64_t first;  // group of the block in its row
  int32_t* dots;  // [group][count][kLanes]
  float* scale;   // see Panel
  float* low;

  template <typename>
  RowPanel block(int64_t first_block, int64_t b) const {
    constexpr int kGroups = Format::kElements / Format::kGroup;
    return {x,
            tokens,
            count,
            (first_block + b) * kGroups,
            dots + b * kGroups * count * kLanes,
            scale + b * kGroups * kLanes,
            low + b * kGroups * kLanes};
  }
  [[gnu::always_inline]] void load(auto rows, int64_t offset, Bytes* out) const {
    Layout::load(rows, offset, out);
  }
  template <typename Piece>
  [[gnu::always_inline]] void make(Rows rows, int64_t offset, Piece piece, Bytes* out) const {
    Layout::make(rows, offset, piece, out);
  }
  template <typename>
  [[gnu::always_inline]] void store(int g, const Bytes* w) const {
#pragma GCC unroll 4
    for (int t = 0; t < count; ++t) {
      i_store_products(dots + (g * count + t) * kLanes,
                       Layout::template multiply<Format>(w, x, tokens[t], first + g));
    }
  }
  void store_scale(int g, Vec a) const { vstore(scale + g * kLanes, a); }
  void store_low(int g, Vec a) const { vstore(low + g * kLanes, a); }
  static Bytes bits_of(Ints bits, int j) { return Layout::bits_of(bits, j); }
};

// Adds the products of one panel, T tokens and then the rest of `count`.
template <typename Format, int T>
inline void add_panel(const PanelScratch& scratch, float* acc, int first_token, int count,
                      int64_t first, int64_t groups, const QuantRows& x,
                      const uint8_t* const* tokens) {
  add_groups<Format, T>(scratch.products + first_token * kLanes, count, scratch.scale, scratch.low,
                        first, groups, x, tokens + first_token, acc + first_token * kLanes);
}

// T tokens; 0: as many as the block has, more than 4.
// Flat: what unpacks a block is called with registers that must not go through memory.
template <typename Format, int T, typename Storage>
[[gnu::flatten]] inline void row_matmul(const IntMatmulBlock& block) {
  constexpr int kHalves = kQuantGroup / Format::kGroup;
  constexpr bool kInQuads = T == 1 && kHalves == 1 && std::is_same_v<Storage, InFile>;
  using Layout = std::conditional_t<kInQuads, Quads, Turned>;
  const PanelScratch scratch = panel_scratch(block);
  const QuantRows x(block);
  const int count = T > 0 ? T : static_cast<int>(block.tokens);
  const uint8_t* tokens[kMostRowTokens];
  for (int t = 0; t < count; ++t) tokens[t] = x.data + t * x.stride;
  const RowPanel<Format, Layout> panel{
      x, tokens, count, 0, scratch.products, scratch.scale, scratch.low};
  using Walk = std::conditional_t<T == 1, typename Storage::OfOneToken, Storage>;
  for_each_panel<Format, 1, Walk>(
      block, scratch, panel, [&](float* acc, int64_t first, int64_t groups, int) {
        const int64_t at = first * kHalves, parts = groups * kHalves;
        if constexpr (T > 0) {
          add_panel<Format, T>(scratch, acc, 0, count, at, parts, x, tokens);
        } else {
          add_panel<Format, 4>(scratch, acc, 0, count, at, parts, x, tokens);
          if (count == 8) return add_panel<Format, 4>(scratch, acc, 4, count, at, parts, x, tokens);
          for (int t = 4; t < count; ++t)
            add_panel<Format, 1>(scratch, acc, t, count, at, parts, x, tokens);
        }
      });
}

template <typename Format, typename Storage>
constexpr int64_t kMostRowTokensOf =
    std::is_same_v<Storage, InFile> || Format::kGroup < kQuantGroup ? kRowTokens : kMostRowTokens;

// REQUIRES: 1 <= block.tokens <= kMostRowTokensOf<Format, Storage>
template <typename Format, typename Storage>
void row_matmul_block(const IntMatmulBlock& block) {
  static_assert(kRowTokens == 4 && kPanel / 16 * kRowTokens * kLanes <= 16 * 16 * 16);
  static_assert(kPanel / kQuantGroup * kMostRowTokens * kLanes <= 16 * 16 * 16);
  if constexpr (kMostRowTokensOf < Format, Storage >> kRowTokens) {
    if (block.tokens > kRowTokens) return row_matmul<Format, 0, Storage>(block);
  }
  if (block.tokens == 1) return row_matmul<Format, 1, Storage>(block);
  if (block.tokens == 2) return row_matmul<Format, 2, Storage>(block);
  if (block.tokens == 3) return row_matmul<Format, 3, Storage>(block);
  row_matmul<Format, 4, Storage>(block);
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
