// Products with stored weights on tensor cores: weights are decoded to bf16, activations rounded to
// it, sums are f32. Included after the words of the platform.
//
// A block stages `kDepth` columns of its rows of W and of its tokens in shared memory, and while
// its warps multiply these the next ones come into a second stage (weights that lie there in bf16
// by asynchronous copies). Rows of a stage are 4 words longer than their numbers, so that the eight
// rows of a matrix that a warp loads fall on different banks. A warp multiplies 32 tokens by some
// features, 16 columns at a time; where there are few tokens, the warps of a block share the
// columns of one 32 by 32 tile instead, so that there are more blocks, and add up at the end.
//
// For each block and column: tokens · features multiplications on tensor cores (wide 16384, narrow
// 1024), features numbers of W read once and decoded by one thread each 32, tokens · 4 bytes of x.
#pragma once

#include "backends/cuda/kernels/linear.cuh"

namespace ferry::cuda {

template <int tokens, int features, int depth, int slices>
struct MmaShape {
  static constexpr int kTokens = tokens, kFeatures = features, kDepth = depth, kSlices = slices;
  static constexpr int kWarpTokens = 32;
  static constexpr int kWarpsOfTokens = tokens / kWarpTokens;
  static constexpr int kWarpsOfFeatures = kThreads / kWarp / kWarpsOfTokens / slices;
  static constexpr int kWarpFeatures = features / kWarpsOfFeatures;
  static constexpr int kStride = depth / 2 + 4;  // words, of two numbers each
  static constexpr int kStageWords = (tokens + features) * kStride;
  static constexpr int kColumnTiles = kWarpFeatures / 8;
};
using WideShape = MmaShape<kWideTokens, kWideRows, 32, 1>;
using NarrowShape = MmaShape<kNarrowTokens, kNarrowRows, 128, 8>;

// The part of the weight that a block multiplies: rows [row, row + rows) and all columns.
struct WeightRows {
  WeightParam weight;
  int64_t row, rows;
  bool copied;  // lie in bf16 in pieces of 16 bytes
};

FERRY_DEVICE bool lies_in_bf16(const WeightParam& w) {
  return w.kind == kWeightBF16 && w.scale == nullptr && w.row_bytes % 16 == 0 &&
         reinterpret_cast<uintptr_t>(w.data) % 16 == 0;
}

// Decoded numbers, rounded to bf16, two to a word.
FERRY_DEVICE void store_group(const float (&numbers)[kGroup], uint32_t* words) {
#pragma unroll
  for (int j = 0; j < kGroup; j += 8) {
    const uint32_t four[4] = {
        pack_bf16(numbers[j], numbers[j + 1]), pack_bf16(numbers[j + 2], numbers[j + 3]),
        pack_bf16(numbers[j + 4], numbers[j + 5]), pack_bf16(numbers[j + 6], numbers[j + 7])};
    store_four(words + j / 2, four);
  }
}

// Columns [k0, k0 + kDepth) of the weight; what is outside of it is 0.
template <typename Shape>
FERRY_DEVICE void stage_weights(const WeightRows& w, int64_t k0, uint32_t* to) {
  const int tid = static_cast<int>(threadIdx.x);
  if (w.copied) {
    constexpr int kPieces = Shape::kDepth / 8;
    for (int i = tid; i < Shape::kFeatures * kPieces; i += kThreads) {
      const int row = i / kPieces, piece = i % kPieces;
      const int64_t k = k0 + piece * 8;
      const bool inside = row < w.rows && k < w.weight.cols;
      const uint8_t* from = w.weight.data;
      if (inside) from = span(from, (w.row + row) * w.weight.row_bytes + k * 2, 16);
      copy_async(to + row * Shape::kStride + piece * 4, from, inside);
    }
    return;
  }
  constexpr int kGroups = Shape::kDepth / kGroup;
  for (int i = tid; i < Shape::kFeatures * kGroups; i += kThreads) {
    const int row = i / kGroups;
    const int64_t group = k0 / kGroup + i % kGroups;
    float numbers[kGroup] = {};
    if (row < w.rows && group * kGroup < w.weight.cols) {
      decode_group(w.weight, w.row + row, group, numbers);
    }
    uint32_t* words = to + row * Shape::kStride + i % kGroups * (kGroup / 2);
    store_group(numbers, words);
  }
}

// The same of `tokens` rows of x.
template <typename Shape>
FERRY_DEVICE void stage_tokens(const MatmulParams& p, const float* x, int64_t tokens, int64_t k0,
                               uint32_t* to) {
  constexpr int kPieces = Shape::kDepth / 8;
  const int tid = static_cast<int>(threadIdx.x);
  for (int i = tid; i < Shape::kTokens * kPieces; i += kThreads) {
    const int token = i / kPieces, piece = i % kPieces;
    const int64_t k = k0 + piece * 8;
    float numbers[8] = {};
    if (token < tokens && k + 8 <= p.cols && p.x_aligned != 0) {
      const float* from = span(x, token * p.x_stride + k, 8);
      float four[2][4];
      load_four(from, four[0]);
      load_four(from + 4, four[1]);
#pragma unroll
      for (int j = 0; j < 8; ++j) numbers[j] = four[j / 4][j % 4];
    } else if (token < tokens) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        if (k + j < p.cols) numbers[j] = *span(x, token * p.x_stride + k + j, 1);
      }
    }
    const uint32_t words[4] = {pack_bf16(numbers[0], numbers[1]), pack_bf16(numbers[2], numbers[3]),
                               pack_bf16(numbers[4], numbers[5]),
                               pack_bf16(numbers[6], numbers[7])};
    store_four(to + token * Shape::kStride + piece * 4, words);
  }
}

// Where a warp stands in its block.
template <typename Shape>
struct WarpPlace {
  int slice, token, feature;  // the first of each
  FERRY_DEVICE explicit WarpPlace(int warp)
      : slice(warp % Shape::kSlices),
        token(warp / Shape::kSlices / Shape::kWarpsOfFeatures * Shape::kWarpTokens),
        feature(warp / Shape::kSlices % Shape::kWarpsOfFeatures * Shape::kWarpFeatures) {}
};

// A warp adds the products of a stage to its tile. A lane names one row of the four 8 by 8 matrices
// that a load takes: of tokens (rows, then columns), of features two neighbours of the next.
template <typename Shape>
FERRY_DEVICE void multiply_stage(const uint32_t* stage, const WarpPlace<Shape>& at,
                                 float (&sums)[2][Shape::kColumnTiles][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const uint32_t* tokens = stage + (at.token + lane % 16) * Shape::kStride + lane / 16 * 4;
  const uint32_t* features = stage + Shape::kTokens * Shape::kStride +
                             (at.feature + lane / 16 * 8 + lane % 8) * Shape::kStride +
                             lane / 8 % 2 * 4;
#pragma unroll
  for (int s = 0; s < Shape::kDepth / 16 / Shape::kSlices; ++s) {
    const int word = (s * Shape::kSlices + at.slice) * 8;
    uint32_t a[2][4];
    load_matrices(tokens + word, a[0]);
    load_matrices(tokens + 16 * Shape::kStride + word, a[1]);
#pragma unroll
    for (int n = 0; n < Shape::kColumnTiles; n += 2) {
      uint32_t b[4];
      load_matrices(features + n * 8 * Shape::kStride + word, b);
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        multiply_add(sums[m][n], a[m], b[0], b[1]);
        multiply_add(sums[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

FERRY_DEVICE void store_product(const MatmulParams& p, int64_t token, int64_t row, float sum) {
  const float bias = p.bias == nullptr ? 0.0f : *span(p.bias, row, 1);
  *span(p.out, static_cast<int64_t>(blockIdx.z) * p.out_head_stride + token * p.out_stride + row,
        1) = sum + bias;
}

// Number i of a lane's four of a 16 by 8 tile of sums is in row lane / 4 + i / 2 · 8, column
// lane % 4 · 2 + i % 2.
template <typename Shape>
FERRY_DEVICE void store_tile(const MatmulParams& p, const TileRange& range, int64_t n0,
                             const WarpPlace<Shape>& at,
                             const float (&sums)[2][Shape::kColumnTiles][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < Shape::kColumnTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t t = range.first + at.token + m * 16 + lane / 4 + i / 2 * 8;
        const int64_t row = n0 + at.feature + n * 8 + lane % 4 * 2 + i % 2;
        if (t < range.last && row < p.rows) store_product(p, t, row, sums[m][n][i]);
      }
    }
  }
}

// Warps that shared the columns of one tile add up, in order, through `shared`.
template <typename Shape>
FERRY_DEVICE void store_slices(const MatmulParams& p, const TileRange& range, int64_t n0, int slice,
                               const float (&sums)[2][Shape::kColumnTiles][4], uint32_t* shared) {
  constexpr int kTileWords = Shape::kTokens * (Shape::kFeatures + 1);
  static_assert(Shape::kWarpsOfTokens == 1 && Shape::kWarpsOfFeatures == 1, "one tile");
  static_assert(Shape::kSlices * kTileWords <= 2 * Shape::kStageWords, "fits where stages were");
  const int tid = static_cast<int>(threadIdx.x), lane = tid % kWarp;
  sync_block();
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < Shape::kColumnTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = m * 16 + lane / 4 + i / 2 * 8, row = n * 8 + lane % 4 * 2 + i % 2;
        shared[slice * kTileWords + token * (Shape::kFeatures + 1) + row] = bits_of(sums[m][n][i]);
      }
    }
  }
  sync_block();
  for (int i = tid; i < Shape::kTokens * Shape::kFeatures; i += kThreads) {
    const int token = i / Shape::kFeatures, row = i % Shape::kFeatures;
    if (range.first + token >= range.last || n0 + row >= p.rows) continue;
    float sum = 0;
    for (int s = 0; s < Shape::kSlices; ++s) {
      sum += float_of(shared[s * kTileWords + token * (Shape::kFeatures + 1) + row]);
    }
    store_product(p, range.first + token, n0 + row, sum);
  }
}

template <typename Shape>
FERRY_DEVICE void multiply_tile(const MatmulParams& p) {
  FERRY_SHARED(uint32_t, stages, 2 * Shape::kStageWords);
  const TileRange range = range_of_tile(p, blockIdx.y, Shape::kTokens);
  if (range.first >= range.last) return;
  const int64_t head = blockIdx.z;
  const int64_t n0 = static_cast<int64_t>(blockIdx.x) * Shape::kFeatures;
  const float* x = p.x + head * p.x_head_stride + range.first * p.x_stride;
  WeightRows w = {p.experts == nullptr ? p.w : *span(p.experts, range.expert, 1),
                  p.first_row + head * p.head_stride + n0, p.rows - n0, false};
  w.copied = lies_in_bf16(w.weight);
  const WarpPlace<Shape> at(static_cast<int>(threadIdx.x) / kWarp);
  float sums[2][Shape::kColumnTiles][4] = {};
  int now = 0;
  for (int64_t k0 = -Shape::kDepth; k0 < p.cols; k0 += Shape::kDepth, now = 1 - now) {
    wait_copies();
    sync_block();
    if (k0 + Shape::kDepth < p.cols) {
      uint32_t* next = stages + (1 - now) * Shape::kStageWords;
      stage_tokens<Shape>(p, x, range.last - range.first, k0 + Shape::kDepth, next);
      stage_weights<Shape>(w, k0 + Shape::kDepth, next + Shape::kTokens * Shape::kStride);
    }
    if (k0 >= 0) multiply_stage<Shape>(stages + now * Shape::kStageWords, at, sums);
  }
  if constexpr (Shape::kSlices == 1) {
    store_tile<Shape>(p, range, n0, at, sums);
  } else {
    store_slices<Shape>(p, range, n0, at.slice, sums, stages);
  }
}

// A thread makes 32 numbers of a row, the operands of cuBLASLt's products (ops_matmul.cc).
FERRY_KERNEL(to_bf16, ToBf16Params) {
  const int64_t groups = (p.from.cols + kGroup - 1) / kGroup;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t row = i / groups, first = i % groups * kGroup;
  if (row >= p.rows) return;
  float numbers[kGroup];
  const uint8_t* from = p.from.data + (p.first_row + row) * p.from.row_bytes + first * 4;
  if (p.from.kind == kWeightF32 && p.from.scale == nullptr && first + kGroup <= p.from.cols &&
      reinterpret_cast<uintptr_t>(from) % 16 == 0) {
    const float* x = span(reinterpret_cast<const float*>(from), 0, kGroup);
#pragma unroll
    for (int j = 0; j < kGroup; j += 4) {
      float four[4];
      load_four(x + j, four);
#pragma unroll
      for (int k = 0; k < 4; ++k) numbers[j + k] = four[k];
    }
  } else {
    decode_group(p.from, p.first_row + row, first / kGroup, numbers);
  }
#pragma unroll
  for (int j = 0; j < kGroup; j += 8) {
    if (first + j >= p.out_stride) break;
    const uint32_t words[4] = {
        pack_bf16(numbers[j], numbers[j + 1]), pack_bf16(numbers[j + 2], numbers[j + 3]),
        pack_bf16(numbers[j + 4], numbers[j + 5]), pack_bf16(numbers[j + 6], numbers[j + 7])};
    uint16_t* out = span(p.out, row * p.out_stride + first + j, 8);
    store_four(reinterpret_cast<uint32_t*>(out), words);
  }
}

FERRY_KERNEL(mma_matmul_wide, MatmulParams) { multiply_tile<WideShape>(p); }
FERRY_KERNEL(mma_matmul_narrow, MatmulParams) { multiply_tile<NarrowShape>(p); }

}  // namespace ferry::cuda
