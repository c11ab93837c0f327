// The integer matmul of every format on tiles (include vec_avx512.h, bytes_avx512vnni.h and a
// tiles_*.h first). The weights are unpacked as for vectors, but signed; a tile multiplies
// 16 tokens × 16 rows × one group of columns, and vectors add the products up with their scales.
//
//   panel (16 rows × 512 columns) × 16 tokens: 16 or 32 products of 1 KB, then 16 tokens ×
//   16 or 32 times { load, to float, times d, times s plus sum }
//
// The chain of int_kernels.h takes its offset off after the product, here it is taken off each
// weight. Both are whole numbers far below 2^24, so t has the same bits and so has the result:
// a prompt on tiles and its continuation on vectors are the same arithmetic.
//
// Per 16 × 16 × 32: one product of half a tile's depth (about 16 cycles) and 48 vector operations
// (24 cycles) at their best, against 96 cycles of int_matmul.h. The scales of 32 numbers are what
// stands between this and the peak of the tiles.
#pragma once

#include "backends/cpu/int_panels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

static_assert(kLanes == kTileRows);
constexpr int kTileProducts = 16;  // at a time: 16 KB
static_assert(kTileProducts * kTileTokens * kTileRows <= 16 * 16 * 16);

// Below this many tokens a mostly empty tile takes longer than vectors.
constexpr int64_t kMinTileTokens = 8;

// A panel of int8: each weight less the format's offset.
struct SignedPanel {
  uint8_t* q;
  float* scale;
  float* low;
  Bytes offset;

  void store(int vector, Bytes a) const { b_store(q + vector * kVectorBytes, b_sub(a, offset)); }
  void store_scale(int group, Vec a) const { vstore(scale + group * kLanes, a); }
  void store_low(int group, Vec a) const { vstore(low + group * kLanes, a); }
};

// Adds T tokens' products of `count` groups, from column `col`, to acc.
template <typename Format, int T>
inline void add_products(const int32_t* products, const float* scale, const float* low, int64_t col,
                         int64_t count, const QuantRows& x, float* acc) {
  Vec sums[T];
  const uint8_t* row[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
    sums[t] = col == 0 ? vzero() : vload(acc + t * kLanes);
    row[t] = x.data + t * x.stride;
  }
  const int64_t sum_at = Format::kGroup == kQuantGroup ? x.sum_at : x.half_sum_at;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t group = col / Format::kGroup + i;
    const int64_t scale_at = x.scale_at + group * Format::kGroup / kQuantGroup * 4;
    const Vec d = vload(scale + i * kLanes);
    const Vec minimum = Format::kMinimum ? vload(low + i * kLanes) : vzero();
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
      const Ints product = i_load_products(products + (i * kTileTokens + t) * kTileRows);
      Vec v = i_to_floats(product);
      if constexpr (Format::kMinimum) {
        v = vfma(v, d, vmul(minimum, vset(read_f32(row[t] + sum_at + 4 * group))));
      } else {
        v = vmul(v, d);
      }
      sums[t] = vfma(vset(read_f32(row[t] + scale_at)), v, sums[t]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) vstore(acc + t * kLanes, sums[t]);
}

template <typename Format>
inline void add_products_of(const int32_t* products, const float* scale, const float* low,
                            int64_t col, int64_t count, const QuantRows& x, int64_t tokens,
                            float* acc) {
  auto add = [&]<int T>(int64_t t) {
    add_products<Format, T>(products + t * kTileRows, scale, low, col, count, x.from(t),
                            acc + t * kLanes);
  };
  int64_t t = 0;
  for (; t + 8 <= tokens; t += 8) add.template operator()<8>(t);
  if (t + 4 <= tokens) {
    add.template operator()<4>(t);
    t += 4;
  }
  if (t + 2 <= tokens) {
    add.template operator()<2>(t);
    t += 2;
  }
  if (t < tokens) add.template operator()<1>(t);
}

template <typename Format>
void tile_matmul_block(const IntMatmulBlock& block) {
  const PanelScratch scratch = panel_scratch(block);
  const SignedPanel panel{scratch.q, scratch.scale, scratch.low, b_set1(Format::kOffset)};
  const QuantRows x(block);
  const int64_t ragged = block.tokens % kTileTokens;
  const Tiles tiles(Format::kGroup, ragged);
  for_each_panel<Format>(block, panel, scratch.acc, [&](int64_t first, int64_t groups) {
    const int64_t count = groups * kQuantGroup / Format::kGroup;
    for (int64_t t = 0; t < block.tokens; t += kTileTokens) {
      for (int64_t i = 0; i < count; i += kTileProducts) {
        const int64_t here = count - i < kTileProducts ? count - i : kTileProducts;
        const int64_t col = first * kQuantGroup + i * Format::kGroup;
        const uint8_t* tokens = x.data + t * x.stride + col;
        const uint8_t* weights = panel.q + i * Format::kGroup * kLanes;
        const bool whole = t + kTileTokens <= block.tokens;
        if (whole) {
          tiles.multiply(tokens, x.stride, weights, here, scratch.products);
        } else {
          tiles.multiply_ragged(tokens, x.stride, weights, here, scratch.products);
        }
        add_products_of<Format>(scratch.products, panel.scale + i * kLanes, panel.low + i * kLanes,
                                col, here, x.from(t), whole ? kTileTokens : ragged,
                                scratch.acc + t * kLanes);
      }
    }
  });
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
