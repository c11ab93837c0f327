// TensorView: {pointer, dtype, shape, stride}, the currency of the seam. It owns nothing.
// `data` is a device address: only the backend that allocated it may follow it.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "base/check.h"
#include "base/dtype.h"

namespace ferry {

inline constexpr int kMaxRank = 4;

struct TensorView {
  void* data = nullptr;
  Dtype dtype = Dtype::kF32;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};   // outermost first
  std::array<int64_t, kMaxRank> stride{};  // in elements, same order

  // A contiguous view. REQUIRES: 1 <= dims.size() <= kMaxRank
  static TensorView contiguous(void* data, Dtype dtype, std::initializer_list<int64_t> dims) {
    CHECK(dims.size() >= 1 && dims.size() <= kMaxRank);
    TensorView view;
    view.data = data;
    view.dtype = dtype;
    view.rank = static_cast<int>(dims.size());
    int i = 0;
    for (int64_t dim : dims) view.shape[i++] = dim;
    int64_t step = 1;
    for (i = view.rank - 1; i >= 0; --i) {
      view.stride[i] = step;
      step *= view.shape[i];
    }
    return view;
  }

  bool empty() const { return data == nullptr; }
  int64_t num_elements() const {
    int64_t product = 1;
    for (int i = 0; i < rank; ++i) product *= shape[i];
    return product;
  }
  bool is_contiguous() const {
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (shape[i] != 1 && stride[i] != step) return false;
      step *= shape[i];
    }
    return true;
  }
  // Bytes from the first to one past the last element. REQUIRES: strides >= 0
  int64_t extent_bytes() const {
    int64_t last = 0;
    for (int i = 0; i < rank; ++i) {
      if (shape[i] == 0) return 0;
      last += (shape[i] - 1) * stride[i];
    }
    return (last + 1) * dtype_bytes(dtype);
  }

  // Elements [begin, begin + count) of dimension `dim`.
  TensorView slice(int dim, int64_t begin, int64_t count) const {
    CHECK(dim >= 0 && dim < rank && begin >= 0 && count >= 0 && begin + count <= shape[dim]);
    TensorView out = *this;
    out.data = static_cast<char*>(data) + begin * stride[dim] * dtype_bytes(dtype);
    out.shape[dim] = count;
    return out;
  }

  // The last dimension split in two: [.., a*b] → [.., a, b].
  TensorView split_last(int64_t outer, int64_t inner) const {
    CHECK(rank >= 1 && rank < kMaxRank && shape[rank - 1] == outer * inner);
    TensorView out = *this;
    out.rank = rank + 1;
    out.shape[rank - 1] = outer;
    out.shape[rank] = inner;
    out.stride[rank] = stride[rank - 1];
    out.stride[rank - 1] = inner * stride[rank - 1];
    return out;
  }

  // The last two dimensions joined: [.., a, b] → [.., a*b]. REQUIRES: they are adjacent in memory.
  TensorView merge_last() const {
    CHECK(rank >= 2 && stride[rank - 2] == shape[rank - 1] * stride[rank - 1]);
    TensorView out = *this;
    out.rank = rank - 1;
    out.shape[rank - 2] = shape[rank - 2] * shape[rank - 1];
    out.stride[rank - 2] = stride[rank - 1];
    out.shape[rank - 1] = out.stride[rank - 1] = 0;  // as in a view that never had it
    return out;
  }
};

}  // namespace ferry
