// Keys and values of every head from cached latents (DeepSeek-V2 §2.1), for attention that reads
// them as bf16: c_s and decoded weights rounded to bf16, sums in f32, as wide tiles of mma.cuh.
// Included after the words of the platform.
//
// A block makes up to 128 features of a head for 128 keys. Where the file has U_hᵀ, whose rows are
// columns of the product, 32 of these rows are a stage, which the warps load transposed.
#pragma once

#include "backends/cuda/kernels/mma.cuh"
#include "backends/cuda/kernels/flash_attention.cuh"

namespace ferry::cuda {

constexpr int kTransposedStride = kWideRows / 2 + 4;  // words
static_assert(WideShape::kDepth * kTransposedStride <= kWideRows * WideShape::kStride,
              "fits where the rows of W would lie");

// Columns [k0, k0 + kDepth) of the latents of `count` keys, zeros beyond their rank.
FERRY_DEVICE void stage_latents(const ExpandParams& p, const int64_t* slots, const int64_t* rows,
                                int64_t count, int64_t k0, uint32_t* to) {
  constexpr int kPieces = WideShape::kDepth / 8;
  for (int i = static_cast<int>(threadIdx.x); i < kWideTokens * kPieces; i += kThreads) {
    const int key = i / kPieces;
    const int64_t k = k0 + i % kPieces * 8;
    const int64_t left = key < count ? p.rank - k : 0;
    stage_eight(p.latents, p.copied != 0, left > 0 ? slots[key] : 0, left > 0 ? rows[key] : 0, k,
                left, to + key * WideShape::kStride + i % kPieces * 4);
  }
}

// The same rows of U_hᵀ: columns [n0, n0 + 128) of each. `row` is the first of the head.
FERRY_DEVICE void stage_transposed(const ExpandParams& p, bool copied, int64_t row, int64_t n0,
                                   int64_t k0, uint32_t* to) {
  const int width = copied ? 8 : kGroup;
  const int pieces = kWideRows / width;
  for (int i = static_cast<int>(threadIdx.x); i < WideShape::kDepth * pieces; i += kThreads) {
    const int64_t k = k0 + i / pieces, n = n0 + i % pieces * width;
    const bool inside = k < p.rank && n < p.size;
    uint32_t* words = to + i / pieces * kTransposedStride + i % pieces * width / 2;
    if (copied) {
      const uint8_t* from = p.w.data;
      if (inside) from = span(from, (row + k) * p.w.row_bytes + n * 2, 16);
      copy_async(words, from, inside);
      continue;
    }
    float numbers[kGroup] = {};
    if (inside) decode_group(p.w, row + k, n / kGroup, numbers);
    store_group(numbers, words);
  }
}

// multiply_stage() where the features lie in rows of k.
FERRY_DEVICE void multiply_transposed(const uint32_t* stage, const WarpPlace<WideShape>& at,
                                      float (&sums)[2][WideShape::kColumnTiles][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const uint32_t* tokens = stage + (at.token + lane % 16) * WideShape::kStride + lane / 16 * 4;
  const uint32_t* features = stage + kWideTokens * WideShape::kStride +
                             lane % 16 * kTransposedStride + at.feature / 2 + lane / 16 * 4;
#pragma unroll
  for (int s = 0; s < WideShape::kDepth / 16; ++s) {
    uint32_t a[2][4];
    load_matrices(tokens + s * 8, a[0]);
    load_matrices(tokens + 16 * WideShape::kStride + s * 8, a[1]);
#pragma unroll
    for (int n = 0; n < WideShape::kColumnTiles; n += 2) {
      uint32_t b[4];
      load_transposed(features + s * 16 * kTransposedStride + n * 4, b);
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        multiply_add(sums[m][n], a[m], b[0], b[1]);
        multiply_add(sums[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

// The numbers behind the latents, which no head has for itself.
FERRY_DEVICE void copy_rope(const ExpandParams& p, const int64_t* slots, const int64_t* rows,
                            int64_t first, int64_t count) {
  const int pieces = static_cast<int>((p.rope_size + 7) / 8);
  for (int i = static_cast<int>(threadIdx.x); i < count * pieces; i += kThreads) {
    const int key = i / pieces, column = i % pieces * 8;
    const int64_t left = p.rope_size - column;
    uint32_t words[4];
    load_cached_at(p.latents, slots[key], rows[key] + p.rank + column, p.rank + column,
                   static_cast<int>(left < 8 ? left : 8), words);
    uint32_t* to = span(p.out, ((first + key) * p.out_stride + p.rope_column + column) / 2, 4);
#pragma unroll
    for (int j = 0; j < 4; ++j) to[j] = words[j];
  }
}

// Zeros up to a multiple of 8, as rows of U_h that are not there were staged as zeros.
FERRY_DEVICE void store_expanded(const ExpandParams& p, int64_t first, int64_t count, int64_t n0,
                                 const WarpPlace<WideShape>& at,
                                 const float (&sums)[2][WideShape::kColumnTiles][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t columns = (p.size + 7) / 8 * 8;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < WideShape::kColumnTiles; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t key = at.token + m * 16 + lane / 4 + half * 8;
        const int64_t column = n0 + at.feature + n * 8 + lane % 4 * 2;
        if (key >= count || column >= columns) continue;
        const int64_t to = (first + key) * p.out_stride + p.out_column +
                           static_cast<int64_t>(blockIdx.z) * p.out_head_stride + column;
        *span(p.out, to / 2, 1) = pack_bf16(sums[m][n][half * 2], sums[m][n][half * 2 + 1]);
      }
    }
  }
}

template <bool transposed>
FERRY_DEVICE void expand_tile(const ExpandParams& p) {
  FERRY_SHARED(uint32_t, stages, 2 * WideShape::kStageWords);
  FERRY_SHARED(int64_t, slots, kWideTokens);
  FERRY_SHARED(int64_t, rows, kWideTokens);
  const int tid = static_cast<int>(threadIdx.x);
  const int64_t head = blockIdx.z, n0 = static_cast<int64_t>(blockIdx.x) * kWideRows;
  const int64_t first = static_cast<int64_t>(blockIdx.y) * kWideTokens;
  const int64_t count = p.keys - first;  // or more than a block takes
  if (tid < kWideTokens && tid < count) {
    slots[tid] = slot_of(p.latents, p.batch, p.sequence, p.first_key + first + tid);
    rows[tid] = element_of(p.latents, slots[tid], 0);
  }
  sync_block();
  if (blockIdx.x == 0 && head == 0) {
    copy_rope(p, slots, rows, first, count < kWideTokens ? count : kWideTokens);
  }
  const int64_t row = p.first_row + head * p.head_stride;
  const WeightRows w = {p.w, row + n0, p.size - n0, lies_in_bf16(p.w)};
  const WarpPlace<WideShape> at(tid / kWarp);
  float sums[2][WideShape::kColumnTiles][4] = {};
  int now = 0;
  for (int64_t k0 = -WideShape::kDepth; k0 < p.rank; k0 += WideShape::kDepth, now = 1 - now) {
    const int64_t next = k0 + WideShape::kDepth;
    wait_copies();
    sync_block();
    if (next < p.rank) {
      uint32_t* stage = stages + (1 - now) * WideShape::kStageWords;
      uint32_t* features = stage + kWideTokens * WideShape::kStride;
      stage_latents(p, slots, rows, count, next, stage);
      if constexpr (transposed) {
        stage_transposed(p, w.copied, row, n0, next, features);
      } else {
        stage_weights<WideShape>(w, next, features);
      }
    }
    if (k0 < 0) continue;
    const uint32_t* stage = stages + now * WideShape::kStageWords;
    if constexpr (transposed) {
      multiply_transposed(stage, at, sums);
    } else {
      multiply_stage<WideShape>(stage, at, sums);
    }
  }
  store_expanded(p, first, count, n0, at, sums);
}

// Block = (features of a head, keys, head).
FERRY_KERNEL(expand_latents, ExpandParams) { expand_tile<false>(p); }
FERRY_KERNEL(expand_transposed, ExpandParams) { expand_tile<true>(p); }

}  // namespace ferry::cuda
