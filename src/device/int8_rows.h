// Rows of the KV cache as int8: whole numbers in [-127, 127] and one f32 scale for each group of
// `group` neighbouring elements of a row (the last group may be shorter). A group is what attention
// multiplies as one: a KV head of keys or of values, the latent (its rank divides a row into the
// latent and the rotary key behind it), the key of the indexer.
//
//   page   [block_size, width] int8, padding to 4 bytes, [block_size, groups] f32 scales, padding
//
// The view of such a plane has dtype i8 and shape [num_pages, block_size, width]; its first stride
// is the whole page, which is how one gets from a row to its scales.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "base/checked_math.h"
#include "base/tensor_view.h"

namespace ferry {

// Pages start on cache lines.
inline constexpr int64_t kInt8PageAlignment = 64;

inline int64_t int8_scales_offset(int64_t block_size, int64_t width) {
  return round_up(block_size * width, static_cast<int64_t>(sizeof(float)));
}

inline int64_t int8_page_bytes(int64_t block_size, int64_t width, int64_t group) {
  const int64_t scales = block_size * ceil_div(width, group) * static_cast<int64_t>(sizeof(float));
  return round_up(int8_scales_offset(block_size, width) + scales, kInt8PageAlignment);
}

inline TensorView int8_pages(void* data, int64_t num_pages, int64_t block_size, int64_t width,
                             int64_t group) {
  TensorView pages = TensorView::contiguous(data, Dtype::kI8, {num_pages, block_size, width});
  pages.stride[0] = int8_page_bytes(block_size, width, group);
  return pages;
}

// Scales of one row. REQUIRES: a view as int8_pages() makes it, with the same group
inline float* int8_scales(const TensorView& pages, int64_t page, int64_t offset, int64_t group) {
  char* base = static_cast<char*>(pages.data) + page * pages.stride[0] +
               int8_scales_offset(pages.shape[1], pages.shape[2]);
  return reinterpret_cast<float*>(base) + offset * ceil_div(pages.shape[2], group);
}

// Bytes that one token takes of a plane of any dtype.
inline double bytes_per_row(const TensorView& pages) {
  const int64_t page = pages.stride[0] * dtype_bytes(pages.dtype);
  return static_cast<double>(page) / static_cast<double>(pages.shape[1]);
}

// x[i] ≈ scale · q[i], q rounded to nearest even, |q| <= 127. A group that holds something that is
// not finite becomes NaN as a whole.
inline void int8_quantize(const float* x, int64_t n, int8_t* q, float* scale) {
  float largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(x[i]);
    finite = finite && magnitude <= std::numeric_limits<float>::max();
    largest = magnitude > largest ? magnitude : largest;
  }
  // So little that its inverse is infinite: nothing.
  const bool zero = !finite || largest < 0x1p-120f;
  const float factor = zero ? 0.0f : 127.0f / largest;
  constexpr float kRound = 0x1.8p23f;  // leaves no bits for a fraction
  for (int64_t i = 0; i < n; ++i) {
    const float value = zero ? 0.0f : x[i];
    q[i] = static_cast<int8_t>(static_cast<int32_t>(value * factor + kRound - kRound));
  }
  *scale = !finite ? std::numeric_limits<float>::quiet_NaN() : zero ? 0.0f : largest / 127.0f;
}

// A row of f32 to slot `slot` (page · block_size + offset).
inline void int8_write_row(const TensorView& pages, int64_t slot, int64_t group, const float* row) {
  const int64_t width = pages.shape[2];
  const int64_t page = slot / pages.shape[1];
  const int64_t offset = slot % pages.shape[1];
  float* scales = int8_scales(pages, page, offset, group);
  int8_t* q = static_cast<int8_t*>(pages.data) + page * pages.stride[0] + offset * pages.stride[1];
  for (int64_t i = 0; i < width; i += group, ++scales) {
    int8_quantize(row + i, i + group < width ? group : width - i, q + i, scales);
  }
}

}  // namespace ferry
