// libcnnl.so, emulated: operations that pick and place rows and elements. An index out of range
// stops the queue, as it would a kernel.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "vendor/cambricon/emulated_cnnl.h"

using emulated::Call;
using emulated::kTrap;
using emulated::Tensor;

extern "C" {

int cnnlIndexSelect(Handle handle, int dim, TensorDesc in_desc, const void* in,
                    TensorDesc index_desc, const void* index, TensorDesc out_desc, void* out) {
  Call call(handle, "cnnlIndexSelect");
  const Tensor x = call.tensor(in_desc, in), which = call.tensor(index_desc, index);
  const Tensor y = call.tensor(out_desc, out);
  call.require(dim == 0 && x.sizes.size() == 2 && which.sizes.size() == 1 && y.sizes.size() == 2);
  if (!call.ok()) return kCnnlBadParam;
  call.require(which.dtype == kInt32 && x.dtype == y.dtype && x.sizes[1] == y.sizes[1] &&
               which.sizes[0] == y.sizes[0]);
  call.require(x.is_contiguous() && y.is_contiguous() && which.is_contiguous());
  return call.run([x, which, y] {
    const int64_t bytes = x.sizes[1] * emulated::bytes_of(x.dtype);
    for (int64_t i = 0; i < y.sizes[0]; ++i) {
      const int64_t row = which.integers()[i];
      if (row < 0 || row >= x.sizes[0]) return kTrap;
      std::memcpy(y.data + i * bytes, x.data + row * bytes, static_cast<size_t>(bytes));
    }
    return 0;
  });
}

int cnnlScatterNd_v2(Handle handle, int mode, TensorDesc index_desc, const void* index,
                     TensorDesc rows_desc, const void* rows, TensorDesc in_desc, const void* in,
                     TensorDesc out_desc, void* out) {
  Call call(handle, "cnnlScatterNd_v2");
  const Tensor which = call.tensor(index_desc, index), x = call.tensor(rows_desc, rows);
  const Tensor y = call.tensor(out_desc, out);
  call.require(mode == kScatterNdUpdate && in == out && in_desc == out_desc, kCnnlNotSupported);
  call.require(which.sizes.size() == 2 && x.sizes.size() == 2 && y.sizes.size() == 2);
  if (!call.ok()) return kCnnlBadParam;
  call.require(which.dtype == kInt32 && which.sizes[1] == 1 && which.sizes[0] == x.sizes[0] &&
               x.sizes[1] == y.sizes[1] && x.dtype == y.dtype);
  call.require(which.is_contiguous() && x.is_contiguous() && y.is_contiguous());
  return call.run([x, which, y] {
    const int64_t bytes = x.sizes[1] * emulated::bytes_of(x.dtype);
    for (int64_t i = 0; i < x.sizes[0]; ++i) {
      const int64_t row = which.integers()[i];
      if (row < 0 || row >= y.sizes[0]) return kTrap;
      std::memcpy(y.data + row * bytes, x.data + i * bytes, static_cast<size_t>(bytes));
    }
    return 0;
  });
}

int cnnlGetTopKTensorWorkspaceSize(Handle, TensorDesc, int, int, bool, TensorDesc, TensorDesc,
                                   size_t* workspace) {
  *workspace = emulated::kWorkspace;
  return kCnnlSuccess;
}

int cnnlTopKTensor_v3(Handle handle, TensorDesc x_desc, const void* x, int k, int dim, bool largest,
                      bool sorted, bool lower_index_first, void* workspace, size_t bytes,
                      TensorDesc out_desc, void* out, TensorDesc index_desc, void* index) {
  Call call(handle, "cnnlTopKTensor_v3");
  call.workspace(workspace, bytes, emulated::kWorkspace);
  const Tensor in = call.tensor(x_desc, x), values = call.tensor(out_desc, out);
  const Tensor which = call.tensor(index_desc, index);
  call.require(in.sizes.size() == 2 && dim == 1 && largest && sorted && lower_index_first,
               kCnnlNotSupported);
  if (!call.ok()) return kCnnlNotSupported;
  call.require(in.dtype == kFloat && values.dtype == kFloat && which.dtype == kInt32 && k >= 1 &&
               k <= in.sizes[1]);
  call.require(in.is_contiguous() && values.is_contiguous() && which.is_contiguous() &&
               values.sizes == std::vector<int64_t>{in.sizes[0], k} && which.sizes == values.sizes);
  return call.run([in, values, which, k, wrong = call.wrong()] {
    const int64_t n = in.sizes[1];
    std::vector<int32_t> order(static_cast<size_t>(n));
    for (int64_t row = 0; row < in.sizes[0]; ++row) {
      const float* from = in.floats() + row * n;
      std::iota(order.begin(), order.end(), 0);
      // NaN is the largest of all.
      std::stable_sort(order.begin(), order.end(), [from, wrong](int32_t a, int32_t b) {
        const bool before = from[a] > from[b] || (std::isnan(from[a]) && !std::isnan(from[b]));
        return wrong ? from[a] < from[b] : before;
      });
      for (int64_t j = 0; j < k; ++j) {
        values.floats()[row * k + j] = from[order[j]];
        reinterpret_cast<int32_t*>(which.data)[row * k + j] = order[j];
      }
    }
    return 0;
  });
}

int cnnlGetGatherWorkspaceSize(Handle, TensorDesc, TensorDesc, TensorDesc, int, size_t* workspace) {
  *workspace = 0;
  return kCnnlSuccess;
}

int cnnlGather_v2(Handle handle, int dim, TensorDesc in_desc, const void* in, TensorDesc index_desc,
                  const void* index, void*, size_t, TensorDesc out_desc, void* out) {
  Call call(handle, "cnnlGather_v2");
  const Tensor x = call.tensor(in_desc, in), which = call.tensor(index_desc, index);
  const Tensor y = call.tensor(out_desc, out);
  call.require(dim == 1 && x.sizes.size() == 2 && emulated::same_sizes(which, y));
  if (!call.ok()) return kCnnlBadParam;
  call.require(x.dtype == kFloat && y.dtype == kFloat && which.dtype == kInt32 &&
               x.sizes[0] == y.sizes[0]);
  call.require(x.is_contiguous() && y.is_contiguous() && which.is_contiguous());
  return call.run([x, which, y] {
    for (int64_t i = 0; i < y.count(); ++i) {
      const int64_t column = which.integers()[i];
      if (column < 0 || column >= x.sizes[1]) return kTrap;
      y.floats()[i] = x.floats()[i / y.sizes[1] * x.sizes[1] + column];
    }
    return 0;
  });
}

int cnnlGetScatterWorkspaceSize(Handle, TensorDesc, size_t* workspace) {
  *workspace = 0;
  return kCnnlSuccess;
}

int cnnlScatter_v2(Handle handle, int dim, TensorDesc in_desc, const void* in,
                   TensorDesc index_desc, const void* index, TensorDesc src_desc, const void* src,
                   void*, size_t, TensorDesc out_desc, void* out, int mode) {
  Call call(handle, "cnnlScatter_v2");
  const Tensor which = call.tensor(index_desc, index), x = call.tensor(src_desc, src);
  const Tensor y = call.tensor(out_desc, out);
  call.require(dim == 1 && mode == kScatterReplace && in == out && in_desc == out_desc,
               kCnnlNotSupported);
  call.require(emulated::same_sizes(which, x) && y.sizes.size() == 2 && x.dtype == kFloat &&
               y.dtype == kFloat && which.dtype == kInt32);
  if (!call.ok()) return kCnnlBadParam;
  call.require(x.is_contiguous() && y.is_contiguous() && which.is_contiguous() &&
               x.sizes[0] == y.sizes[0]);
  return call.run([x, which, y] {
    for (int64_t i = 0; i < x.count(); ++i) {
      const int64_t column = which.integers()[i];
      if (column < 0 || column >= y.sizes[1]) return kTrap;
      y.floats()[i / x.sizes[1] * y.sizes[1] + column] = x.floats()[i];
    }
    return 0;
  });
}

}  // extern "C"
