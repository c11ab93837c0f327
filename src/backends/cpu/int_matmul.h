// The integer matmul of every format (include a vec_*.h and its bytes_*.h first). For each panel of
// columns and each kStrips · kLanes rows: unpack once, then go along all tokens of the block.
//
//            tokens →  x_0 … x_5        one tile: two strips of 8 vectors × kStripTokens tokens
//   rows  w_0 │ 4 neighbours │           sum[t] += w_j · x_t[4j .. 4j+3], lanes = rows
//    ↓    w_1 │ of each row  │           once a group: acc[t] = s_t (sum d) + acc[t]
//
// Per 512 weights and token (AVX-512): 8 dot products, and 3 float operations for the scales. Two
// dot products a cycle make that 128 multiply-adds a cycle at most, four times those of f32. There
// are two loads a cycle: with one strip, 9 for 8 dot products, they would be the limit; with two
// strips and six tokens it is 8 for 12.
#pragma once

#include "backends/cpu/row_matmul.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

// T tokens × V strips of kLanes rows × `groups` groups of 32 columns, the first of which is number
// `first`.
template <typename Format, int V, int T>
inline void int_tile(const Panel& panel, int64_t first, int64_t groups, const QuantRows& x,
                     float* acc) {
  constexpr int kHalves = kQuantGroup / Format::kGroup;
  constexpr int kSteps = 8 / kHalves;
  Vec sums[V][T];
  const uint8_t* row[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
    row[t] = x.data + t * x.stride;
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      sums[v][t] = first == 0 ? vzero() : vload(acc + v * kStripFloats + t * kLanes);
    }
  }
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* weights = panel.q + g * 8 * kVectorBytes;
    const int64_t q_at = (first + g) * kQuantGroup;
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      const int64_t index = g * kHalves + half;
      const int64_t group = first * kHalves + index;
      Dot<Format::kBits> dots[V][T];
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        const Ints start = negative_offset<Format>(x, row[t], group);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) dots[v][t].start(start);
      }
#pragma GCC unroll 8
      for (int j = 0; j < kSteps; ++j) {
        Bytes w[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) {
          w[v] = b_load(weights + v * kPanelFloats * 4 + (half * kSteps + j) * kVectorBytes);
        }
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
          const Bytes numbers = b_set4(row[t] + q_at + 4 * (half * kSteps + j));
#pragma GCC unroll 2
          for (int v = 0; v < V; ++v) dots[v][t].add(w[v], numbers);
        }
        if (j % 2 == 1) {
#pragma GCC unroll 8
          for (int t = 0; t < T; ++t) {
#pragma GCC unroll 2
            for (int v = 0; v < V; ++v) dots[v][t].flush(j + 1);
          }
        }
      }
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        const int64_t at = v * kPanelScales + index * kLanes;
        const Vec d = vload(panel.scale + at);
        const Vec low = Format::kMinimum ? vload(panel.low + at) : vzero();
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
          sums[v][t] = add_group<Format>(dots[v][t].total(), d, low, x, row[t], group, sums[v][t]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) vstore(acc + v * kStripFloats + t * kLanes, sums[v][t]);
  }
}

template <typename Format, int V>
inline void int_tiles(const Panel& panel, int64_t first, int64_t groups, const QuantRows& x,
                      int64_t tokens, float* acc) {
  constexpr int kMost = V == 1 ? kTokens : kStripTokens;
  int64_t t = 0;
  for (; t + kMost <= tokens; t += kMost) {
    int_tile<Format, V, kMost>(panel, first, groups, x.from(t), acc + t * kLanes);
  }
  if (kMost > 4 && t + 4 <= tokens) {
    int_tile<Format, V, 4>(panel, first, groups, x.from(t), acc + t * kLanes);
    t += 4;
  }
  if (t + 2 <= tokens) {
    int_tile<Format, V, 2>(panel, first, groups, x.from(t), acc + t * kLanes);
    t += 2;
  }
  if (t < tokens) int_tile<Format, V, 1>(panel, first, groups, x.from(t), acc + t * kLanes);
}

// Flat as row_matmul() is: of codebooks, what unpacks a block is too long to be put in its place
// otherwise.
template <typename Format, typename Storage>
[[gnu::flatten]] void int_matmul_block(const IntMatmulBlock& block) {
  if (block.tokens <= kMostRowTokensOf<Format, Storage>)
    return row_matmul_block<Format, Storage>(block);
  const PanelScratch scratch = panel_scratch(block);
  const Panel panel{scratch.q, scratch.scale, scratch.low};
  const QuantRows x(block);
  auto multiply = [&](float* acc, int64_t first, int64_t groups, int strips) {
    if (strips == kStrips) {
      int_tiles<Format, kStrips>(panel, first, groups, x, block.tokens, acc);
    } else {
      int_tiles<Format, 1>(panel, first, groups, x, block.tokens, acc);
    }
  };
  for_each_panel<Format, kStrips, Storage>(block, scratch, panel, multiply);
}

template <typename List>
struct IntTable;
template <typename... Formats>
struct IntTable<FormatList<Formats...>> {
  static constexpr IntFormat kFormats[] = {{Formats::kName, int_matmul_block<Formats, InFile>}...};
  static constexpr int kCount = sizeof...(Formats);
};

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
