// A block of an integer matmul as a walk over panels (include a vec_*.h and its bytes_*.h first):
// what int_matmul.h does with vectors of columns, row_matmul.h with vectors of rows and
// tile_matmul.h with tiles.
#pragma once

#include "backends/cpu/int_unpack_codebook.h"
#include "backends/cpu/kernels.h"
#include "base/checked_math.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

constexpr int64_t kPanel = 512;  // columns: with 8 tokens' x, a quarter of a 48 KB cache
static_assert(kMaxBlockRows * kMaxBlockTokens <= 32 * 96);
constexpr int64_t kPanelRowBytes = 544;  // of a row in the file: those of Q8_0
static_assert(kLanes * kPanelRowBytes <= 2176 * 4);

// The rows of activations of a block: a pointer for each, its parts at the same distance from it.
struct QuantRows {
  const uint8_t* data;
  int64_t stride;
  int64_t scale_at, sum_at, negative_sum_at, negative_half_sum_at;

  explicit QuantRows(const IntMatmulBlock& block)
      : data(block.x),
        stride(quant_row_bytes(block.cols)),
        scale_at(quant_scale_at(block.cols)),
        sum_at(quant_sum_at(block.cols)),
        negative_sum_at(quant_negative_sum_at(block.cols)),
        negative_half_sum_at(quant_negative_half_sum_at(block.cols)) {}
  QuantRows from(int64_t token) const {
    QuantRows rest = *this;
    rest.data += token * stride;
    return rest;
  }
};
inline float read_f32(const uint8_t* p) {
  float value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}
inline int32_t read_i32(const uint8_t* p) {
  int32_t value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}

// −o Σ q_x of group g of a row, as far as the dot product has not taken it off the weights; one of
// `Parts` equal parts of it.
template <typename Format, int Parts = 1>
inline Ints negative_offset(const QuantRows& x, const uint8_t* row, int64_t g) {
  constexpr int kOffset = Format::kOffset - Dot<Format::kBits>::kBias;
  if constexpr (Format::kMinimum || kOffset == 0) {
    return i_zero();
  } else {
    static_assert(kOffset >= Parts && (kOffset & (kOffset - 1)) == 0);
    const int64_t at = Format::kGroup == kQuantGroup ? x.negative_sum_at : x.negative_half_sum_at;
    return i_left<__builtin_ctz(kOffset / Parts)>(i_set1(read_i32(row + at + 4 * g)));
  }
}
// Σ q_x of group g, for the minimum.
template <typename Format>
inline Vec group_sum(const QuantRows& x, const uint8_t* row, int64_t g) {
  if constexpr (Format::kGroup == kQuantGroup) {
    return vset(read_f32(row + x.sum_at + 4 * g));
  } else {
    return vset(-static_cast<float>(read_i32(row + x.negative_half_sum_at + 4 * g)));
  }
}

// One group of the chain of int_kernels.h: `dot` is its integer sum, offset included.
template <typename Format>
inline Vec add_group(Ints dot, Vec d, Vec low, const QuantRows& x, const uint8_t* row, int64_t g,
                     Vec sum) {
  Vec t = i_to_floats(dot);
  if constexpr (Format::kMinimum) {
    t = vfma(t, d, vmul(low, group_sum<Format>(x, row, g)));
  } else {
    t = vmul(t, d);
  }
  const int64_t scale_at = x.scale_at + g * Format::kGroup / kQuantGroup * 4;
  return vfma(vset(read_f32(row + scale_at)), t, sum);
}

// Adds T tokens' integer sums of `count` groups, from number `first` of their rows, to acc.
//   dots [count][tokens_apart][kLanes], acc [T][kLanes]
template <typename Format, int T>
inline void add_groups(const int32_t* dots, int tokens_apart, const float* scale, const float* low,
                       int64_t first, int64_t count, const QuantRows& x, const uint8_t* const* rows,
                       float* acc) {
  Vec sums[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) sums[t] = first == 0 ? vzero() : vload(acc + t * kLanes);
  for (int64_t i = 0; i < count; ++i) {
    const Vec d = vload(scale + i * kLanes);
    const Vec minimum = Format::kMinimum ? vload(low + i * kLanes) : vzero();
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
      const Ints dot = i_load_products(dots + (i * tokens_apart + t) * kLanes);
      sums[t] = add_group<Format>(dot, d, minimum, x, rows[t], first + i, sums[t]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) vstore(acc + t * kLanes, sums[t]);
}

// kLanes rows of a block are a strip. Where two are multiplied at once their panels lie one behind
// the other, and their accumulators.
constexpr int64_t kPanelFloats = 2048, kPanelScales = 512;
static_assert(kLanes * kPanel / 4 <= kPanelFloats && kLanes * kPanel / 16 <= kPanelScales);
constexpr int64_t kStripFloats = kMaxBlockTokens * kLanes;

inline Panel Panel::strip(int number) const {
  const int64_t n = number;
  return {q + n * kPanelFloats * 4, scale + n * kPanelScales, low + n * kPanelScales};
}

// Where a block's scratch goes.
struct PanelScratch {
  float* acc;  // [strip][kMaxBlockTokens][kLanes]
  uint8_t* q;  // see int_unpack.h
  float* scale;
  float* low;
  int32_t* products;
  uint8_t* ragged;  // [kLanes][kPanelRowBytes]
};
inline PanelScratch panel_scratch(const IntMatmulBlock& block) {
  float* const acc = block.scratch;
  float* const q = acc + kMaxBlockRows * kMaxBlockTokens;
  float* const scale = q + 2 * kPanelFloats;
  float* const low = scale + 2 * kPanelScales;
  float* const products = low + 2 * kPanelScales;
  return {acc,
          static_cast<uint8_t*>(static_cast<void*>(q)),
          scale,
          low,
          static_cast<int32_t*>(static_cast<void*>(products)),
          static_cast<uint8_t*>(static_cast<void*>(products + 16 * 16 * 16))};
}

inline void store_rows(const float* acc, int64_t rows, const float* bias, float* out) {
  if (rows == kLanes) {
    const Vec sums = vload(acc);
    vstore(out, bias == nullptr ? sums : vadd(sums, vload(bias)));
    return;
  }
  for (int64_t r = 0; r < rows; ++r) out[r] = bias == nullptr ? acc[r] : acc[r] + bias[r];
}

// The last rows of a block as kLanes rows of their own, the last one again and again.
inline Rows fill_up_rows(Rows rows, int64_t count, int64_t bytes, uint8_t* copy) {
  for (int64_t r = 0; r < kLanes; ++r) {
    __builtin_memcpy(copy + r * kPanelRowBytes,
                     rows.data + (r < count ? r : count - 1) * rows.stride,
                     static_cast<size_t>(bytes));
  }
  return {copy, kPanelRowBytes, rows.next};
}

// Panel number `strip` of a walk over V of them at a time.
template <int V, typename P>
inline P panel_of(const P& panel, int strip) {
  if constexpr (V == 1)
    return panel;
  else
    return panel.strip(strip);
}

// The rows of a block as they lie in a file.
struct InFile {
  template <int V>
  static constexpr int64_t kTurns = 1;
  using OfOneToken = InFile;  // what a block of one token takes instead

  // `count` rows from `first`, at most kLanes of them, and `blocks` blocks from number b.
  template <typename Format, int V>
  static Rows rows(const IntMatmulBlock& block, const PanelScratch& scratch, int64_t first,
                   int64_t count, int64_t b, int64_t blocks) {
    const uint8_t* const data = block.data + first * block.row_bytes;
    const uint8_t* const next = data + V * kLanes * block.row_bytes;
    const int64_t offset = b * Format::kBytes;
    const Rows rows{data + offset, block.row_bytes, next + offset * kLanes};
    if (count >= kLanes) return rows;
    return fill_up_rows(rows, count, blocks * Format::kBytes, scratch.ragged);
  }
  // Block `number` of the rows.
  template <typename Format>
  static void unpack(Rows rows, int64_t number, const auto& panel) {
    Format::unpack(rows, number * Format::kBytes, panel);
  }
};

// multiply(acc, first, groups, strips): adds the products with 32-groups [first, first + groups) of
// the columns, which lie in the panels of V strips or of what is left, to acc; the first time, with
// first = 0, it overwrites it. Storage::kTurns<V> walks over neighbouring rows take turns, panel by
// panel.
template <typename Format, int V, typename Storage, typename P, typename Multiply>
inline void for_each_panel(const IntMatmulBlock& block, const PanelScratch& scratch, const P& panel,
                           Multiply multiply) {
  constexpr int64_t kPanelBlocks = kPanel / Format::kElements;
  constexpr int64_t kWalkRows = V * kLanes, kTurns = Storage::template kTurns<V>;
  static_assert(kPanelBlocks * Format::kBytes <= kPanelRowBytes && V <= 2);
  static_assert(kTurns * kWalkRows <= kMaxBlockRows);
  const int64_t blocks = block.cols / Format::kElements;
  for (int64_t row = 0; row < block.rows; row += kTurns * kWalkRows) {
    const int64_t left = block.rows - row;
    const int64_t turns = left < kTurns * kWalkRows ? ceil_div(left, kWalkRows) : kTurns;
    const auto strips_of = [&](int64_t turn) { return left - turn * kWalkRows > kLanes ? V : 1; };
    for (int64_t b = 0; b < blocks; b += kPanelBlocks) {
      const int64_t here = blocks - b < kPanelBlocks ? blocks - b : kPanelBlocks;
      for (int64_t turn = 0; turn < turns; ++turn) {
        const int strips = strips_of(turn);
        for (int s = 0; s < strips; ++s) {
          const int64_t first = row + turn * kWalkRows + s * kLanes, count = block.rows - first;
          const auto rows =
              Storage::template rows<Format, V>(block, scratch, first, count, b, here);
          const P strip = panel_of<V>(panel, s);
          for (int64_t i = 0; i < here; ++i) {
            Storage::template unpack<Format>(rows, i, strip.template block<Format>(b, i));
          }
        }
        multiply(scratch.acc + turn * V * kStripFloats, b * Format::kElements / kQuantGroup,
                 here * Format::kElements / kQuantGroup, strips);
      }
    }
    for (int64_t turn = 0; turn < turns; ++turn) {
      for (int s = 0; s < strips_of(turn); ++s) {
        const int64_t first = row + turn * kWalkRows + s * kLanes, count = block.rows - first;
        const float* const acc = scratch.acc + (turn * V + s) * kStripFloats;
        const float* const bias = block.bias == nullptr ? nullptr : block.bias + first;
        for (int64_t t = 0; t < block.tokens; ++t) {
          store_rows(acc + t * kLanes, count < kLanes ? count : kLanes, bias,
                     block.out + t * block.out_stride + first);
        }
      }
    }
  }
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
