// The integer matmul of every format (include a vec_*.h and its bytes_*.h first). For each panel of
// columns and each kLanes rows: unpack once, then go along all tokens of the block.
//
//            tokens →  x_0 … x_7        one tile: 8 vectors of weights × kTokens tokens
//   rows  w_0 │ 4 neighbours │           sum[t] += w_j · x_t[4j .. 4j+3], lanes = rows
//    ↓    w_1 │ of each row  │           once a group: acc[t] = s_t (sum d) + acc[t]
//
// Per 512 weights and token (AVX-512): 8 dot products, and 3 float operations for the scales. Two
// dot products a cycle make that 128 multiply-adds a cycle at most, four times those of f32.
#pragma once

#include "backends/cpu/row_matmul.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

// T tokens × kLanes rows × `groups` groups of 32 columns, the first of which is number `first`.
template <typename Format, int T>
inline void int_tile(const Panel& panel, int64_t first, int64_t groups, const QuantRows& x,
                     float* acc) {
  constexpr int kHalves = kQuantGroup / Format::kGroup;
  constexpr int kSteps = 8 / kHalves;
  Vec sums[T];
  const uint8_t* row[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
    sums[t] = first == 0 ? vzero() : vload(acc + t * kLanes);
    row[t] = x.data + t * x.stride;
  }
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* weights = panel.q + g * 8 * kVectorBytes;
    const int64_t q_at = (first + g) * kQuantGroup;
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      const int64_t index = g * kHalves + half;
      const int64_t group = first * kHalves + index;
      Dot<Format::kBits> dots[T];
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) dots[t].start(negative_offset<Format>(x, row[t], group));
#pragma GCC unroll 8
      for (int j = 0; j < kSteps; ++j) {
        const Bytes w = b_load(weights + (half * kSteps + j) * kVectorBytes);
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
          dots[t].add(w, b_set4(row[t] + q_at + 4 * (half * kSteps + j)));
        }
        if (j % 2 == 1) {
#pragma GCC unroll 8
          for (int t = 0; t < T; ++t) dots[t].flush(j + 1);
        }
      }
      const Vec d = vload(panel.scale + index * kLanes);
      const Vec low = Format::kMinimum ? vload(panel.low + index * kLanes) : vzero();
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        sums[t] = add_group<Format>(dots[t].total(), d, low, x, row[t], group, sums[t]);
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) vstore(acc + t * kLanes, sums[t]);
}

template <typename Format>
inline void int_tiles(const Panel& panel, int64_t first, int64_t groups, const QuantRows& x,
                      int64_t tokens, float* acc) {
  int64_t t = 0;
  for (; t + kTokens <= tokens; t += kTokens) {
    int_tile<Format, kTokens>(panel, first, groups, x.from(t), acc + t * kLanes);
  }
  if (kTokens > 4 && t + 4 <= tokens) {
    int_tile<Format, 4>(panel, first, groups, x.from(t), acc + t * kLanes);
    t += 4;
  }
  if (t + 2 <= tokens) {
    int_tile<Format, 2>(panel, first, groups, x.from(t), acc + t * kLanes);
    t += 2;
  }
  if (t < tokens) int_tile<Format, 1>(panel, first, groups, x.from(t), acc + t * kLanes);
}

template <typename Format>
void int_matmul_block(const IntMatmulBlock& block) {
  if constexpr (kHasRowMatmul<Format>) {
    if (block.tokens <= kRowTokens) return row_matmul_block<Format>(block);
  }
  const PanelScratch scratch = panel_scratch(block);
  const Panel panel{scratch.q, scratch.scale, scratch.low};
  const QuantRows x(block);
  for_each_panel<Format>(block, scratch, panel, [&](int64_t first, int64_t groups) {
    int_tiles<Format>(panel, first, groups, x, block.tokens, scratch.acc);
  });
}

template <typename List>
struct IntTable;
template <typename... Formats>
struct IntTable<FormatList<Formats...>> {
  static constexpr IntFormat kFormats[] = {{Formats::kName, int_matmul_block<Formats>}...};
  static constexpr int kCount = sizeof...(Formats);
};

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
