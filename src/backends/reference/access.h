// How the reference ops reach into tensors and weights: rows of strided views, decoded weight rows,
// and the dot product whose order of summation the specification fixes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/tensor_view.h"
#include "device/weight.h"

namespace ferry::reference {

// The dtype that a C++ type is allowed to be read as.
template <typename T>
constexpr bool holds(Dtype dtype) {
  if constexpr (sizeof(T) == 2) return dtype == Dtype::kF16 || dtype == Dtype::kBF16;
  if constexpr (static_cast<T>(0.5) == T{}) return dtype == Dtype::kI32;
  return dtype == Dtype::kF32;
}

// First element of x[i, ·]. REQUIRES: rank 2, last dimension contiguous
template <typename T = float>
T* row(const TensorView& x, int64_t i) {
  CHECK(holds<T>(x.dtype) && x.rank == 2 && (x.stride[1] == 1 || x.shape[1] <= 1));
  CHECK(i >= 0 && i < x.shape[0]);
  return static_cast<T*>(x.data) + i * x.stride[0];
}

// First element of x[i, j, ·]. REQUIRES: rank 3, last dimension contiguous
template <typename T = float>
T* row(const TensorView& x, int64_t i, int64_t j) {
  CHECK(holds<T>(x.dtype) && x.rank == 3 && (x.stride[2] == 1 || x.shape[2] <= 1));
  CHECK(i >= 0 && i < x.shape[0] && j >= 0 && j < x.shape[1]);
  return static_cast<T*>(x.data) + i * x.stride[0] + j * x.stride[1];
}

// The elements of a vector. REQUIRES: rank 1, contiguous
template <typename T = float>
T* vector(const TensorView& x) {
  CHECK(holds<T>(x.dtype) && x.rank == 1 && (x.stride[0] == 1 || x.shape[0] <= 1));
  return static_cast<T*>(x.data);
}

// Where element number `index`, counted in row-major order, of a view of any rank and strides lies.
inline int64_t offset_of(const TensorView& x, int64_t index) {
  int64_t offset = 0;
  for (int dim = x.rank - 1; dim >= 0; --dim) {
    offset += index % x.shape[dim] * x.stride[dim];
    index /= x.shape[dim];
  }
  return offset;
}

inline bool same_shape(const TensorView& a, const TensorView& b) {
  bool same = a.rank == b.rank;
  for (int dim = 0; same && dim < a.rank; ++dim) same = a.shape[dim] == b.shape[dim];
  return same;
}

// Number `i` of a run of numbers in a cache dtype.
float load(const void* data, Dtype dtype, int64_t i);
void store(void* data, Dtype dtype, int64_t i, float value);  // rounds to nearest even

// Row n of W as f32, block scales applied: dst[k] = W[n, k].
void decode_row(const WeightView& w, int64_t n, float* dst);

// Rows [first, first + count) of W as f32, back to back.
std::vector<float> decode_rows(const WeightView& w, int64_t first, int64_t count);

// Σ_i a_i b_i in ascending order of i.
inline float dot(const float* a, const float* b, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace ferry::reference
