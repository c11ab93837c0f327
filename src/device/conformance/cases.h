// The groups of conformance cases, one file each, and what they share.
#pragma once

#include <cmath>
#include <span>
#include <vector>

#include "device/conformance/conformance.h"
#include "device/conformance/rig.h"

namespace ferry {

void add_elementwise_cases(std::vector<ConformanceCase>& cases);  // norms, rope, swiglu, add, copy
void add_linear_cases(std::vector<ConformanceCase>& cases);       // matmul, grouped and per head
void add_row_cases(std::vector<ConformanceCase>& cases);  // embed, gather, kv_write, top_logits
void add_attention_cases(std::vector<ConformanceCase>& cases);
void add_mla_cases(std::vector<ConformanceCase>& cases);
void add_sparse_cases(std::vector<ConformanceCase>& cases);  // the indexer and what it chooses
void add_moe_cases(std::vector<ConformanceCase>& cases);
void add_v4_cases(std::vector<ConformanceCase>& cases);  // what DeepSeek-V4 has besides

// Rows [first, first + count) of a [n, width] array.
inline std::span<const float> rows_of(const std::vector<float>& values, int64_t width,
                                      int64_t first, int64_t count) {
  return std::span<const float>(values).subspan(static_cast<size_t>(first * width),
                                                static_cast<size_t>(count * width));
}

// A query about a weight as a model would ask it.
inline OpQuery weight_query(Op op, const quant::StorageFormat& format, bool scaled, int64_t rows,
                            int64_t cols) {
  return {.op = op, .format = &format, .block_scaled = scaled, .rows = rows, .cols = cols};
}

// Σ_i |a_i b_i|
inline double absolute_dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::abs(static_cast<double>(a[i]) * b[i]);
  return sum;
}

// Each number as large as the largest of its group of 32 in a row of `size`.
inline std::vector<float> largest_neighbours(const std::vector<float>& x, int64_t size) {
  std::vector<float> result(x.size());
  const auto count = static_cast<int64_t>(x.size());
  for (int64_t i = 0, end = 0; i < count; i = end) {
    end = std::min({i + 32 - i % size % 32, (i / size + 1) * size, count});
    float largest = 0;
    for (int64_t k = i; k < end; ++k) largest = std::max(largest, std::fabs(x[k]));
    std::fill(result.begin() + i, result.begin() + end, largest);
  }
  return result;
}

inline constexpr int64_t kTokenCounts[] = {1, 2, 3, 17, 64, 100};

}  // namespace ferry
