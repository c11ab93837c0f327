// Kernels that look at rows or elements: embed, norms, rope, elementwise ops, gather.
// Included after the words of the platform.
#pragma once

#include "backends/cuda/kernels/decode.cuh"

namespace ferry::cuda {

FERRY_DEVICE float load_element(const void* data, int32_t type, int64_t i) {
  switch (type) {
    case kElementF32: return *span(static_cast<const float*>(data), i, 1);
    case kElementF16: return half_to_float(*span(static_cast<const uint16_t*>(data), i, 1));
    default: return bf16_to_float(*span(static_cast<const uint16_t*>(data), i, 1));
  }
}

FERRY_DEVICE uint16_t float_to_bf16(float value) {
  const uint32_t bits = bits_of(value);
  if (value != value) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Rounds to nearest even.
FERRY_DEVICE void store_element(void* data, int32_t type, int64_t i, float value) {
  switch (type) {
    case kElementF32: *span(static_cast<float*>(data), i, 1) = value; return;
    case kElementF16: *span(static_cast<uint16_t*>(data), i, 1) = float_to_half(value); return;
    default: *span(static_cast<uint16_t*>(data), i, 1) = float_to_bf16(value);
  }
}

// The sum over the block, given to every thread. `partial` has a float for each warp.
FERRY_DEVICE float sum_of_block(float value, float* partial) {
  const int tid = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  if (tid % kWarp == 0) partial[tid / kWarp] = value;
  sync_block();
  float sum = 0;
  for (int i = 0; i < static_cast<int>(blockDim.x) / kWarp; ++i) sum += partial[i];
  sync_block();
  return sum;
}

FERRY_KERNEL(embed, EmbedParams) {
  const int32_t id = *span(p.ids, blockIdx.x, 1);
  require(id >= 0 && id < p.table.rows);
  const int64_t groups = (p.table.cols + kGroup - 1) / kGroup;
  for (int64_t g = threadIdx.x; g < groups; g += blockDim.x) {
    float row[kGroup];
    const int count = decode_group(p.table, id, g, row);
    float* out = span(p.out, blockIdx.x * p.out_stride + g * kGroup, count);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      if (i < count) out[i] = row[i];
    }
  }
}

// rms_norm, with a residual add_rms_norm, with a bias layer_norm. Block = row.
FERRY_KERNEL(norm, NormParams) {
  FERRY_SHARED(float, partial, kWarp);
  const int64_t outer = blockIdx.x / p.inner_rows, inner = blockIdx.x % p.inner_rows;
  const float* x = span(p.x, outer * p.x_stride[0] + inner * p.x_stride[1], p.size);
  float* out = span(p.out, outer * p.out_stride[0] + inner * p.out_stride[1], p.size);
  const float* weight = span(p.weight, 0, p.size);
  if (p.residual != nullptr) {
    float* residual = span(p.residual, blockIdx.x * p.residual_stride, p.size);
    for (int64_t i = threadIdx.x; i < p.size; i += blockDim.x) residual[i] += x[i];
    x = residual;  // each thread goes on with what it wrote itself
  }
  const float size = static_cast<float>(p.size);
  float mean = 0;
  if (p.bias != nullptr) {
    float sum = 0;
    for (int64_t i = threadIdx.x; i < p.size; i += blockDim.x) sum += x[i];
    mean = sum_of_block(sum, partial) / size;
  }
  float squares = 0;
  for (int64_t i = threadIdx.x; i < p.size; i += blockDim.x) {
    squares += (x[i] - mean) * (x[i] - mean);
  }
  const float inverse = 1.0f / sqrtf(sum_of_block(squares, partial) / size + p.epsilon);
  const float* bias = p.bias == nullptr ? nullptr : span(p.bias, 0, p.size);
  for (int64_t i = threadIdx.x; i < p.size; i += blockDim.x) {
    const float scaled = weight[i] * ((x[i] - mean) * inverse);
    out[i] = bias == nullptr ? scaled : scaled + bias[i];
  }
}

FERRY_KERNEL(elementwise, ElementParams) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= p.count) return;
  int64_t a = 0, b = 0, out = 0, left = i;
#pragma unroll
  for (int dim = 3; dim >= 0; --dim) {
    if (p.shape[dim] == 1) continue;
    const int64_t at = left % p.shape[dim];
    left /= p.shape[dim];
    a += at * p.a_stride[dim];
    b += at * p.b_stride[dim];
    out += at * p.out_stride[dim];
  }
  const float x = load_element(p.a, p.a_type, a);
  if (p.op == kOpCopy) {
    store_element(p.out, p.out_type, out, x);
    return;
  }
  const float y = *span(static_cast<const float*>(p.b), b, 1);
  float result = x + y;
  if (p.op == kOpSwiglu) result = x / (1.0f + expf(-x)) * y;
  if (p.op == kOpClampedSwiglu) {
    const float gate = p.limit < x ? p.limit : x;
    const float up = y < -p.limit ? -p.limit : p.limit < y ? p.limit : y;
    result = gate / (1.0f + expf(-gate)) * up;
  }
  *span(static_cast<float*>(p.out), out, 1) = result;
}

// Block = token; a thread turns pairs.
FERRY_KERNEL(rope, RopeParams) {
  const int32_t position = *span(p.positions, blockIdx.x, 1);
  require(position >= 0 && position < p.max_positions);
  const int64_t half = p.size / 2;
  const float* angles = span(p.cos_sin, position * p.cos_sin_stride, p.size);
  for (int64_t i = threadIdx.x; i < p.heads * half; i += blockDim.x) {
    const int64_t h = i / half, pair = i % half;
    float* x = span(p.x, blockIdx.x * p.x_stride[0] + h * p.x_stride[1], p.size);
    float& first = p.interleaved != 0 ? x[2 * pair] : x[pair];
    float& second = p.interleaved != 0 ? x[2 * pair + 1] : x[pair + half];
    const float a = first, b = second, cosine = angles[pair], sine = angles[half + pair];
    first = a * cosine - b * sine;
    second = a * sine + b * cosine;
  }
}

FERRY_KERNEL(gather_rows, GatherParams) {
  const int32_t row = *span(p.rows, blockIdx.x, 1);
  require(row >= 0 && row < p.num_rows);
  const float* x = span(p.x, row * p.x_stride, p.size);
  float* out = span(p.out, blockIdx.x * p.out_stride, p.size);
  for (int64_t i = threadIdx.x; i < p.size; i += blockDim.x) out[i] = x[i];
}

}  // namespace ferry::cuda
