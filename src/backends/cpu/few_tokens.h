// Matmul of few tokens with weights that are single numbers: BF16, F16 and F8_E4M3 (include a
// vec_*.h and decode_kernels.h first). A weight is widened in its register and used once per token,
// where matmul_kernels.h writes panels of f32 and reads them back, which only pays for many.
//
//   8 rows × 1 token, or 4 × 2 to 4: as many accumulators, every row a stream of its own
//
// Per vector of weights: a load, 2 operations to widen it (F8: 9, with its scale), T multiply-adds.
// The chain of each output is that of matmul_kernels.h, so the bits are the same.
#pragma once

#include "backends/cpu/matmul_kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

constexpr int64_t kFewTokens = 4;

struct Bf16Numbers {
  static constexpr int kBytes = 2;
  static Vec load(const uint8_t* p) { return vload_bf16(reinterpret_cast<const uint16_t*>(p)); }
};
struct F16Numbers {
  static constexpr int kBytes = 2;
  static Vec load(const uint8_t* p) { return vload_f16(reinterpret_cast<const uint16_t*>(p)); }
};
struct F8Numbers {
  static constexpr int kBytes = 1;
  static Vec load(const uint8_t* p) { return vload_f8_e4m3(p); }
};

// R rows from `row` × T tokens.
template <typename Numbers, int R, int T>
inline void few_tokens_tile(const MatmulBlock& block, int64_t row) {
  constexpr int64_t kAhead = 1024;  // bytes of a row that are asked for before they are needed
  const WeightRows& w = block.w;
  const uint8_t* const first = w.data + (block.first_row + row) * w.row_bytes;
  Vec sums[R][T];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) sums[r][t] = vzero();
  }
  const int64_t span = w.scale == nullptr ? w.cols : w.scale_cols;
  for (int64_t begin = 0, segment = 0; begin < w.cols; begin += span, ++segment) {
    const int64_t end = w.cols - begin < span ? w.cols : begin + span;
    Vec scale[R];
    if (w.scale != nullptr) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const int64_t of_row = (block.first_row + row + r) / w.scale_rows * w.scale_stride;
        scale[r] = vset(w.scale[of_row + segment]);
      }
    }
    for (int64_t k = begin; k < end; k += kLanes) {
      Vec x[T];
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) x[t] = vload(block.x[t] + k);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const uint8_t* const p = first + r * w.row_bytes + k * Numbers::kBytes;
        __builtin_prefetch(p + kAhead);
        Vec weight = Numbers::load(p);
        if (w.scale != nullptr) weight = vmul(weight, scale[r]);
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) sums[r][t] = vfma(weight, x[t], sums[r][t]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      const float sum = vsum(sums[r][t]);
      block.out[t * block.out_stride + row + r] =
          block.bias == nullptr ? sum : sum + block.bias[row + r];
    }
  }
}

template <typename Numbers, int R, int T>
inline void few_tokens_rows(const MatmulBlock& block) {
  int64_t row = 0;
  for (; row + R <= block.rows; row += R) few_tokens_tile<Numbers, R, T>(block, row);
  for (; row < block.rows; ++row) few_tokens_tile<Numbers, 1, T>(block, row);
}

template <typename Numbers>
inline void few_tokens_block(const MatmulBlock& block) {
  if (block.tokens == 1) return few_tokens_rows<Numbers, 8, 1>(block);
  if (block.tokens == 2) return few_tokens_rows<Numbers, 4, 2>(block);
  if (block.tokens == 3) return few_tokens_rows<Numbers, 4, 3>(block);
  few_tokens_rows<Numbers, 4, kFewTokens>(block);
}

inline void few_or_many_tokens_block(const MatmulBlock& block) {
  const WeightRows& w = block.w;
  const bool whole_vectors =
      w.cols % kLanes == 0 && (w.scale == nullptr || w.scale_cols % kLanes == 0);
  if (block.tokens <= kFewTokens && whole_vectors) {
    if (w.decode == decode_bf16) return few_tokens_block<Bf16Numbers>(block);
    if (w.decode == decode_f16) return few_tokens_block<F16Numbers>(block);
    if (w.decode == decode_f8_e4m3) return few_tokens_block<F8Numbers>(block);
  }
  matmul_block(block);
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
