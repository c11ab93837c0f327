// Matmul of bf16 weights and f32 activations on tiles (include tile_product.h and its headers
// first). An activation is cut into three bf16, 8 bits of its 24 each, so that no product is
// rounded and the result is as good as in f32:
//
//   x = x₀ + x₁ + x₂        W x = W x₀ + W x₁ + W x₂
//
//   for each panel of 512 columns of a block's 32 weight rows
//     turn them into pairs [columns / 2, rows]                       → scratch, 32 KB
//     for each xᵢ: tokens × rows += xᵢ W                             2 × 2 tiles of sums
//
// For one or two tokens that does not pay: W xᵢ is multiplied instead, from the weights where they
// lie, a column of sums for each token. A sum has the same products in the same order, so it has
// the same bits (tile_products_agree() tries that too): which of them it is may depend on the
// number of tokens, other kernels may not.
//
// Per 16 × 16 × 32: three products, 48 cycles, where f32 has 512 multiply-adds of 16 lanes; two
// units take 256 cycles. One token: 48 cycles for 1 KB of weights, 21 bytes a cycle.
//
// Below the normal numbers weights and parts of activations count as zero. Infinite weights make
// NaN.
#pragma once

#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/matmul_kernels.h"
#include "backends/cpu/tile_product.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

constexpr int kSplitParts = 3;
constexpr int64_t kSplitPanel = 512;
constexpr int64_t kFewSplitTokens = 2;
static_assert(kSplitPanel % kTileProductDepth == 0);
static_assert(kMaxBlockTokens * kMaxBlockRows + kMaxBlockRows * kSplitPanel / 2 <=
              kIntScratchFloats);

// A row of activations: all x₀, all x₁, all x₂.
inline int64_t split_stride(int64_t cols) { return (cols + 31) / 32 * 32; }
int64_t split_row_bytes(int64_t cols) { return kSplitParts * 2 * split_stride(cols); }

// The first 8 bits of each number.
inline __m512i split_upper(__m512i bits) {
  return _mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000)));
}
inline void store_upper(uint16_t* dst, __m512i bits, __mmask16 lanes) {
  const __m256i halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16));
  _mm256_mask_storeu_epi16(dst, lanes, halves);
}

void split_row(const float* x, int64_t cols, void* data) {
  constexpr int kNan = 0x81, kNotFinite = 0x99;
  const int64_t stride = split_stride(cols);
  auto* const out = static_cast<uint16_t*>(data);
  for (int64_t i = 0; i < cols; i += kLanes) {
    const int n = cols - i < kLanes ? static_cast<int>(cols - i) : kLanes;
    const __mmask16 lanes = n < kLanes ? first_lanes(n) : __mmask16{0xffff};
    const Vec value = _mm512_maskz_loadu_ps(lanes, x + i);
    const __m512i bits = _mm512_castps_si512(value);
    // What makes a number NaN must not be cut off; and nothing is left of an infinity.
    const __m512i first =
        _mm512_mask_or_epi32(split_upper(bits), _mm512_fpclass_ps_mask(value, kNan), bits,
                             _mm512_set1_epi32(0x00400000));
    const auto finite = static_cast<__mmask16>(~_mm512_fpclass_ps_mask(value, kNotFinite));
    const Vec left = _mm512_maskz_sub_ps(finite, value, _mm512_castsi512_ps(first));
    const __m512i second = split_upper(_mm512_castps_si512(left));
    const Vec last = vsub(left, _mm512_castsi512_ps(second));
    store_upper(out + i, first, lanes);
    store_upper(out + stride + i, second, lanes);
    store_upper(out + 2 * stride + i, _mm512_castps_si512(last), lanes);
  }
}

// REQUIRES: an even number of columns
void matmul_split(const IntMatmulBlock& block) {
  const int64_t rows = block.rows, stride = split_stride(block.cols);
  const int64_t row_bytes = block.row_bytes, x_bytes = split_row_bytes(block.cols);
  float* const sums = block.scratch;  // [tokens, kMaxBlockRows]
  float* const panel = block.scratch + kMaxBlockTokens * kMaxBlockRows;
  const bool few = block.tokens <= kFewSplitTokens;
  TileProducts tiles;
  for (int64_t col = 0; col < block.cols; col += kSplitPanel) {
    const int64_t cols = block.cols - col < kSplitPanel ? block.cols - col : kSplitPanel;
    const uint8_t* const w = block.data + 2 * col;
    const int64_t behind = block.cols - col - cols;
    for (int64_t r = 0; r < rows; ++r) {
      prefetch_panel(w + r * row_bytes + 2 * cols, 2 * (behind < cols ? behind : cols));
    }
    if (!few) {
      transpose(reinterpret_cast<const float*>(w), row_bytes / 4, rows, cols / 2, panel, rows);
    }
    for (int part = 0; part < kSplitParts; ++part) {
      const bool accumulate = col > 0 || part > 0;
      const auto* const x = reinterpret_cast<const uint16_t*>(block.x) + part * stride + col;
      if (!few) {
        tiles.multiply({.m = block.tokens,
                        .n = rows,
                        .k = cols,
                        .a = x,
                        .a_stride = x_bytes / 2,
                        .b = reinterpret_cast<const uint16_t*>(panel),
                        .b_stride = 2 * rows,
                        .c = sums,
                        .c_stride = kMaxBlockRows,
                        .accumulate = accumulate});
        continue;
      }
      for (int64_t t = 0; t < block.tokens; ++t) {
        tiles.multiply({.m = rows,
                        .n = 1,
                        .k = cols,
                        .a = reinterpret_cast<const uint16_t*>(w),
                        .a_stride = row_bytes / 2,
                        .b = x + t * x_bytes / 2,
                        .b_stride = 2,
                        .c = sums + t * kMaxBlockRows,
                        .c_stride = 1,
                        .accumulate = accumulate});
      }
    }
  }
  for (int64_t t = 0; t < block.tokens; ++t) {
    float* const out = block.out + t * block.out_stride;
    for (int64_t r = 0; r < rows; ++r) {
      const float sum = sums[t * kMaxBlockRows + r];
      out[r] = block.bias == nullptr ? sum : sum + block.bias[r];
    }
  }
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
