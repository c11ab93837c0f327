// Products with stored weights in f32, for few tokens (matvec), many (tile_matmul), and with the
// stored matrix transposed; those on tensor cores are in mma.cuh. Included after the words of the
// platform.
#pragma once

#include "backends/cuda/kernels/decode.cuh"

namespace ferry::cuda {

// The expert whose range holds row r. REQUIRES: there is one
FERRY_DEVICE int64_t expert_of_row(const int32_t* offsets, int64_t num_experts, int64_t r) {
  int64_t low = 0, high = num_experts;  // offsets[low] <= r < offsets[high]
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (*span(offsets, middle, 1) <= r) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

// A warp makes one output feature of up to kMatvecTokens tokens: each lane decodes every 32nd group
// of the row once and multiplies it with all tokens. Grid: (rows / 8, tokens / 8, heads); grouped:
// (rows / 8, tokens, 1).
FERRY_KERNEL(matvec, MatmulParams) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kMatvecRows + threadIdx.x / kWarp;
  if (n >= p.rows) return;
  WeightParam w = p.w;
  int64_t first = static_cast<int64_t>(blockIdx.y) * kMatvecTokens;
  int count = static_cast<int>(p.tokens - first < kMatvecTokens ? p.tokens - first : kMatvecTokens);
  if (p.experts != nullptr) {
    first = blockIdx.y;
    count = 1;
    w = *span(p.experts, expert_of_row(p.offsets, p.num_experts, first), 1);
  }
  const int64_t head = blockIdx.z;
  const int64_t weight_row = p.first_row + head * p.head_stride + n;
  const float* x = p.x + head * p.x_head_stride + first * p.x_stride;
  float sums[kMatvecTokens] = {};
  const int64_t groups = (p.cols + kGroup - 1) / kGroup;
  for (int64_t g = lane; g < groups; g += kWarp) {
    float weight[kGroup];
    const int numbers = decode_group(w, weight_row, g, weight);
#pragma unroll
    for (int t = 0; t < kMatvecTokens; ++t) {
      if (t >= count) break;
      const float* from = span(x, t * p.x_stride + g * kGroup, numbers);
      if (p.x_aligned != 0 && numbers == kGroup) {
#pragma unroll
        for (int i = 0; i < kGroup; i += 4) {
          float four[4];
          load_four(from + i, four);
#pragma unroll
          for (int j = 0; j < 4; ++j) sums[t] += four[j] * weight[i + j];
        }
      } else {
#pragma unroll
        for (int i = 0; i < kGroup; ++i) {
          if (i < numbers) sums[t] += from[i] * weight[i];
        }
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kMatvecTokens; ++t) {
    if (t >= count) break;
#pragma unroll
    for (int mask = kWarp / 2; mask > 0; mask /= 2) sums[t] += shuffle_xor(sums[t], mask);
    if (lane != 0) continue;
    const float bias = p.bias == nullptr ? 0.0f : *span(p.bias, n, 1);
    *span(p.out, head * p.out_head_stride + (first + t) * p.out_stride + n, 1) = sums[t] + bias;
  }
}

// Which tokens the tile `index` of up to `size` covers: with experts, those of one, counted tile by
// tile.
struct TileRange {
  int64_t first, last, expert;
};

FERRY_DEVICE TileRange range_of_tile(const MatmulParams& p, int64_t index, int64_t size) {
  if (p.experts == nullptr) {
    const int64_t first = index * size;
    return {first, p.tokens - first < size ? p.tokens : first + size, 0};
  }
  int64_t begin = *span(p.offsets, 0, 1);
  for (int64_t e = 0; e < p.num_experts; ++e) {
    const int64_t end = *span(p.offsets, e + 1, 1);
    const int64_t tiles = (end - begin + size - 1) / size;
    if (index < tiles) {
      const int64_t first = begin + index * size;
      return {first, end - first < size ? end : first + size, e};
    }
    index -= tiles;
    begin = end;
  }
  return {0, 0, 0};
}

// A block makes 128 output features of 32 tokens; a thread 4 by 4 of them. Weights are decoded
// into shared memory once for all tokens of the tile.
FERRY_KERNEL(tile_matmul, MatmulParams) {
  FERRY_SHARED(float, weights, kTileRows * (kTileDepth + 1));
  FERRY_SHARED(float, inputs, kTileTokens * (kTileDepth + 1));
  const TileRange range = range_of_tile(p, blockIdx.y, kTileTokens);
  if (range.first >= range.last) return;
  const WeightParam w = p.experts == nullptr ? p.w : *span(p.experts, range.expert, 1);
  const int tid = static_cast<int>(threadIdx.x);
  const int64_t head = blockIdx.z;
  const int64_t n0 = static_cast<int64_t>(blockIdx.x) * kTileRows;
  const float* x = p.x + head * p.x_head_stride;
  const int my_row = tid % kTileRows, my_group = tid / kTileRows;
  const int column = tid % kWarp, token = tid / kWarp * 4;
  float sums[4][4] = {};
  for (int64_t k0 = 0; k0 < p.cols; k0 += kTileDepth) {
    float group[kGroup] = {};
    const int64_t first = k0 + my_group * kGroup;
    if (n0 + my_row < p.rows && first < p.cols) {
      decode_group(w, p.first_row + head * p.head_stride + n0 + my_row, first / kGroup, group);
    }
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      weights[my_row * (kTileDepth + 1) + my_group * kGroup + i] = group[i];
    }
    for (int i = tid; i < kTileTokens * kTileDepth; i += kThreads) {
      const int64_t t = range.first + i / kTileDepth, k = k0 + i % kTileDepth;
      const bool inside = t < range.last && k < p.cols;
      inputs[i / kTileDepth * (kTileDepth + 1) + i % kTileDepth] =
          inside ? *span(x, t * p.x_stride + k, 1) : 0.0f;
    }
    sync_block();
    for (int k = 0; k < kTileDepth; ++k) {
      float a[4], b[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = weights[(column + i * kWarp) * (kTileDepth + 1) + k];
#pragma unroll
      for (int j = 0; j < 4; ++j) b[j] = inputs[(token + j) * (kTileDepth + 1) + k];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[j][i] += a[i] * b[j];
      }
    }
    sync_block();
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t t = range.first + token + j, n = n0 + column + i * kWarp;
      if (t >= range.last || n >= p.rows) continue;
      const float bias = p.bias == nullptr ? 0.0f : *span(p.bias, n, 1);
      *span(p.out, head * p.out_head_stride + t * p.out_stride + n, 1) = sums[j][i] + bias;
    }
  }
}

// out[t, h, c] = Σ_r W[r, c] x[t, h, r] over the `rows` rows of head h. Block = (token, head): a
// thread takes one group of columns and every s-th row; then the partial sums are added up.
FERRY_KERNEL(transposed_matvec, MatmulParams) {
  FERRY_SHARED(float, partial, kThreads * (kGroup + 1));
  const int tid = static_cast<int>(threadIdx.x);
  const int64_t token = blockIdx.x, head = blockIdx.y;
  const int64_t groups = (p.cols + kGroup - 1) / kGroup;
  const float* x = span(p.x, token * p.x_stride + head * p.x_head_stride, p.rows);
  float* out = span(p.out, token * p.out_stride + head * p.out_head_stride, p.cols);
  const int width = groups < kThreads ? static_cast<int>(groups) : kThreads;
  const int slices = kThreads / width;
  const int slice = tid / width;
  for (int64_t g0 = 0; g0 < groups; g0 += width) {
    const int64_t group = g0 + tid % width;
    float sums[kGroup] = {};
    if (slice < slices && group < groups) {
      for (int64_t r = slice; r < p.rows; r += slices) {
        float weight[kGroup];
        decode_group(p.w, p.first_row + head * p.head_stride + r, group, weight);
#pragma unroll
        for (int i = 0; i < kGroup; ++i) sums[i] += x[r] * weight[i];
      }
    }
#pragma unroll
    for (int i = 0; i < kGroup; ++i) partial[tid * (kGroup + 1) + i] = sums[i];
    sync_block();
    for (int i = tid; i < width * kGroup; i += kThreads) {
      const int64_t c = g0 * kGroup + i;
      if (c >= p.cols) continue;
      float sum = 0;
      for (int s = 0; s < slices; ++s) {
        sum += partial[(s * width + i / kGroup) * (kGroup + 1) + i % kGroup];
      }
      out[c] = sum;
    }
    sync_block();
  }
}

}  // namespace ferry::cuda
