// A block of an integer matmul as a walk over panels of unpacked weights (include int_unpack.h
// first): what int_matmul.h does with vectors and tile_matmul.h with tiles.
#pragma once

#include "backends/cpu/int_unpack.h"
#include "backends/cpu/kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

constexpr int64_t kPanel = 512;  // columns: with 8 tokens' x, a quarter of a 48 KB cache
static_assert(kLanes * kPanel / 4 <= 2048 && kLanes * kPanel / 16 <= 512);
static_assert(kMaxBlockRows * kMaxBlockTokens <= 32 * 96);

// The rows of activations of a block: a pointer for each, its parts at the same distance from it.
struct QuantRows {
  const uint8_t* data;
  int64_t stride;
  int64_t scale_at, sum_at, half_sum_at;

  explicit QuantRows(const IntMatmulBlock& block)
      : data(block.x),
        stride(quant_row_bytes(block.cols)),
        scale_at(quant_scale_at(block.cols)),
        sum_at(quant_sum_at(block.cols)),
        half_sum_at(quant_half_sum_at(block.cols)) {}
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

// Where a block's scratch goes.
struct PanelScratch {
  float* acc;  // [tokens][kLanes]
  uint8_t* q;  // see int_unpack.h
  float* scale;
  float* low;
  int32_t* products;
};
inline PanelScratch panel_scratch(const IntMatmulBlock& block) {
  float* const acc = block.scratch;
  float* const q = acc + kMaxBlockRows * kMaxBlockTokens;
  float* const scale = q + 2048;
  float* const low = scale + 512;
  return {acc, static_cast<uint8_t*>(static_cast<void*>(q)), scale, low,
          static_cast<int32_t*>(static_cast<void*>(low + 512))};
}

inline void store_rows(const float* acc, int64_t rows, const float* bias, float* out) {
  if (rows == kLanes) {
    const Vec sums = vload(acc);
    vstore(out, bias == nullptr ? sums : vadd(sums, vload(bias)));
    return;
  }
  for (int64_t r = 0; r < rows; ++r) out[r] = bias == nullptr ? acc[r] : acc[r] + bias[r];
}

// `next` is where the following kLanes rows begin. They are asked for line by line, as many bytes
// with each block as the block has: all at once would fill the few buffers for lines on their way,
// and the loads of this block would have to queue behind them.
template <typename Format, typename P>
inline void unpack_panel(Rows rows, int64_t first_block, int64_t blocks, const uint8_t* next,
                         const P& panel) {
  constexpr int kGroups = Format::kElements / Format::kGroup;
  constexpr int kBytes = Format::kElements * kLanes;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t offset = (first_block + b) * Format::kBytes;
    const int64_t end = (offset + Format::kBytes) * kLanes;
    for (int64_t i = offset * kLanes / 64 * 64; i < end; i += 64) {
      __builtin_prefetch(next + i, 0, 2);
    }
    P block = panel;
    block.q += b * kBytes;
    block.scale += b * kGroups * kLanes;
    block.low += b * kGroups * kLanes;
    Format::unpack(rows, offset, block);
  }
}

// multiply(first, groups): adds the products with 32-groups [first, first + groups) of the columns,
// which lie in the panel, to acc; the first time, with first = 0, it overwrites it.
template <typename Format, typename P, typename Multiply>
inline void for_each_panel(const IntMatmulBlock& block, const P& panel, const float* acc,
                           Multiply multiply) {
  constexpr int64_t kPanelBlocks = kPanel / Format::kElements;
  const int64_t blocks = block.cols / Format::kElements;
  for (int64_t row = 0; row < block.rows; row += kLanes) {
    const int64_t count = block.rows - row < kLanes ? block.rows - row : kLanes;
    const uint8_t* rows[kLanes];
    const uint8_t* const next = block.data + (row + kLanes) * block.row_bytes;
    for (int64_t r = 0; r < kLanes; ++r) {  // ragged: the last row again
      rows[r] = block.data + (row + (r < count ? r : count - 1)) * block.row_bytes;
    }
    for (int64_t b = 0; b < blocks; b += kPanelBlocks) {
      const int64_t here = blocks - b < kPanelBlocks ? blocks - b : kPanelBlocks;
      unpack_panel<Format>(rows, b, here, next, panel);
      multiply(b * Format::kElements / kQuantGroup, here * Format::kElements / kQuantGroup);
    }
    for (int64_t t = 0; t < block.tokens; ++t) {
      store_rows(acc + t * kLanes, count, block.bias == nullptr ? nullptr : block.bias + row,
                 block.out + t * block.out_stride + row);
    }
  }
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
