// The integer matmul of every format on tiles (include vec_avx512.h, bytes_avx512vnni.h and a
// tiles_*.h first). The weights are unpacked as for vectors, but signed; a tile multiplies
// 16 tokens × 16 rows × one group of columns, and vectors add the products up with their scales.
//
//   panel (16 rows × 512 columns) × 16 tokens: 16 or 32 products of 1 KB, then 16 tokens ×
//   16 or 32 times { load, to float, times d, times s plus sum }
//
// The offset of int_kernels.h is taken off each weight. Sums are whole numbers either way, so t has
// the same bits and so has the result: a prompt on tiles and its continuation on vectors are the
// same arithmetic.
//
// Per 16 × 16 × 32: one product of half a tile's depth (about 16 cycles) and 48 vector operations
// (24 cycles) at their best, against 96 cycles of int_matmul.h. The scales of 32 numbers are what
// stands between this and the peak of the tiles.
#pragma once

#include "backends/cpu/int_panels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

constexpr int kTileTokens = kTileLines;
constexpr int kTileRows = 16;
static_assert(kLanes == kTileRows);
constexpr int kTileProducts = 16;  // at a time: 16 KB
static_assert(kTileProducts * kTileTokens * kTileRows <= 16 * 16 * 16);

// Products of int8: 16 tokens, or the last few, × 16 weight rows × one group of columns.
//
//        K bytes                 64 bytes                   16 int32
//   16 ┌────────┐     K/4 ┌─────────────────────┐     16 ┌───────────┐
// tokens│ x      │    ×    │ w: 4 neighbours of  │   =  tokens│ products  │   K = 16 or 32 columns
//      └────────┘         │ each of 16 rows     │        └───────────┘
//                         └─────────────────────┘
//
// Tiles 0 to 3 are for 16 tokens, 4 and 5 for the last few, 6 and 7 for weights.
class Int8Tiles {
 public:
  // group: columns of a product, 16 or 32. ragged: tokens of multiply_ragged, 0 to 15.
  Int8Tiles(int group, int64_t ragged)
      : group_(group),
        tiles_({{kTileTokens, kTileBytes},
                {kTileTokens, kTileBytes},
                {kTileTokens, group},
                {kTileTokens, group},
                {ragged, kTileBytes},
                {ragged, group},
                {group / 4, kTileBytes},
                {group / 4, kTileBytes}}) {}

  // products[i][t][n] = Σ_k x[t][i group + k] w[i][n][k] for i in [0, count), rows of x `stride`
  // bytes apart. Two products at a time, so that one is loaded while the other is computed.
  void multiply(const uint8_t* x, int64_t stride, const uint8_t* w, int64_t count,
                int32_t* products) {
    int64_t i = 0;
    for (; i + 2 <= count; i += 2) {
      product<0, 2, 6>(x, stride, w, i);
      product<1, 3, 7>(x, stride, w, i + 1);
      tiles_.store<0>(products + i * kProduct, kTileBytes);
      tiles_.store<1>(products + (i + 1) * kProduct, kTileBytes);
    }
    if (i < count) {
      product<0, 2, 6>(x, stride, w, i);
      tiles_.store<0>(products + i * kProduct, kTileBytes);
    }
  }
  // The same for `ragged` tokens. REQUIRES: ragged > 0
  void multiply_ragged(const uint8_t* x, int64_t stride, const uint8_t* w, int64_t count,
                       int32_t* products) {
    for (int64_t i = 0; i < count; ++i) {
      product<4, 5, 6>(x, stride, w, i);
      tiles_.store<4>(products + i * kProduct, kTileBytes);
    }
  }

 private:
  static constexpr int kProduct = kTileTokens * kTileRows;

  template <int C, int X, int W>
  void product(const uint8_t* x, int64_t stride, const uint8_t* w, int64_t i) {
    tiles_.zero<C>();
    tiles_.load<W>(w + i * group_ * kTileRows, kTileBytes);
    tiles_.load<X>(x + i * group_, stride);
    tiles_.multiply_int8<C, X, W>();
  }

  int group_;
  TileRegisters tiles_;
};

// Below this many tokens a mostly empty tile takes longer than vectors.
constexpr int64_t kMinTileTokens = 8;

// A panel of int8: each weight less the format's offset.
struct SignedPanel {
  uint8_t* q;
  float* scale;
  float* low;
  Bytes offset;

  template <typename Format>
  SignedPanel block(int64_t first, int64_t b) const {
    const Panel part = Panel{q, scale, low}.block<Format>(first, b);
    return {part.q, part.scale, part.low, offset};
  }
  void load(auto rows, int64_t at, Bytes* out) const { b_load_rows(rows, at, out); }
  template <typename Piece>
  void make(Rows rows, int64_t at, Piece piece, Bytes* out) const {
    Panel{q, scale, low}.make(rows, at, piece, out);
  }
  template <typename Format>
  void store(int g, const Bytes* w) const {
    constexpr int kVectors = Format::kGroup / 4;
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      b_store(q + (g * kVectors + j) * kVectorBytes, b_sub(w[j], offset));
    }
  }
  void store_scale(int g, Vec a) const { vstore(scale + g * kLanes, a); }
  void store_low(int g, Vec a) const { vstore(low + g * kLanes, a); }
  static Bytes bits_of(Ints bits, int j) { return Panel::bits_of(bits, j); }
};

template <typename Format>
inline void add_products_of(const int32_t* products, const float* scale, const float* low,
                            int64_t col, int64_t count, const QuantRows& x, int64_t tokens,
                            float* acc) {
  auto add = [&]<int T>(int64_t t) {
    const uint8_t* rows[T];
    for (int i = 0; i < T; ++i) rows[i] = x.data + (t + i) * x.stride;
    add_groups<Format, T>(products + t * kTileRows, kTileTokens, scale, low, col / Format::kGroup,
                          count, x, rows, acc + t * kLanes);
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

template <typename Format, typename Storage>
void tile_matmul_block(const IntMatmulBlock& block) {
  const PanelScratch scratch = panel_scratch(block);
  const SignedPanel panel{scratch.q, scratch.scale, scratch.low, b_set1(Format::kOffset)};
  const QuantRows x(block);
  const int64_t ragged = block.tokens % kTileTokens;
  Int8Tiles tiles(Format::kGroup, ragged);
  for_each_panel<Format, 1, Storage>(
      block, scratch, panel, [&](float* acc, int64_t first, int64_t groups, int) {
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
            add_products_of<Format>(scratch.products, panel.scale + i * kLanes,
                                    panel.low + i * kLanes, col, here, x.from(t),
                                    whole ? kTileTokens : ragged, acc + t * kLanes);
          }
        }
      });
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
