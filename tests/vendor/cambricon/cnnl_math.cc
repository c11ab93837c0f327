// libcnnl.so, emulated: element-wise operations, activations, softmax, layer norm.
#include <algorithm>
#include <cmath>

#include "vendor/cambricon/emulated_cnnl.h"

namespace emulated {
namespace {

// Whether b's sizes are a's or 1.
bool spreads(const Tensor& b, const Tensor& a) {
  if (b.sizes.size() != a.sizes.size()) return false;
  for (size_t i = 0; i < a.sizes.size(); ++i) {
    if (b.sizes[i] != a.sizes[i] && b.sizes[i] != 1) return false;
  }
  return true;
}

// x with stride 0 where it has size 1, so that offsets of `shape` can be used with it.
Tensor spread(const Tensor& x, const Tensor& shape) {
  Tensor out = x;
  for (size_t i = 0; i < x.sizes.size(); ++i) {
    if (x.sizes[i] != shape.sizes[i]) out.strides[i] = 0;
  }
  out.sizes = shape.sizes;
  return out;
}

template <typename Operation>
int combine(Call& call, const Tensor& a, const Tensor& b, const Tensor& c, Operation operation) {
  const auto ready = [](const Tensor& x) { return x.dtype == kFloat && x.is_contiguous(); };
  call.require(ready(a) && ready(b) && ready(c) && spreads(a, c) && spreads(b, c));
  if (!call.ok()) return kCnnlBadParam;
  return call.run([left = spread(a, c), right = spread(b, c), c, operation] {
    for (int64_t i = 0; i < c.count(); ++i) {
      c.floats()[i] =
          operation(left.floats()[left.offset_of(i)], right.floats()[right.offset_of(i)]);
    }
    return 0;
  });
}

bool plain_pair(const Tensor& x, const Tensor& y) {
  return x.dtype == kFloat && y.dtype == kFloat && same_sizes(x, y) && x.is_contiguous() &&
         y.is_contiguous();
}

}  // namespace
}  // namespace emulated

using emulated::Call;
using emulated::Tensor;

extern "C" {

int cnnlSetOpTensorDescriptor(OpDesc desc, int operation, int dtype, int) {
  if (desc == nullptr || desc->kind != "op tensor" || dtype != kFloat) return kCnnlBadParam;
  desc->values[0] = operation;
  return kCnnlSuccess;
}

int cnnlGetOpTensorWorkspaceSize_v2(Handle, OpDesc, const void*, TensorDesc, const void*,
                                    const void*, TensorDesc, const void*, const void*, TensorDesc,
                                    const void*, size_t* workspace) {
  *workspace = emulated::kWorkspace;
  return kCnnlSuccess;
}

int cnnlOpTensor(Handle handle, OpDesc desc, const void* alpha1, TensorDesc a_desc, const void* a,
                 const void* alpha2, TensorDesc b_desc, const void* b, void* workspace,
                 size_t bytes, const void* beta, TensorDesc c_desc, void* c) {
  Call call(handle, "cnnlOpTensor");
  call.require(desc != nullptr && desc->values.count(0) == 1);
  if (!call.ok()) return kCnnlBadParam;
  call.workspace(workspace, bytes, emulated::kWorkspace);
  const Tensor x = call.tensor(a_desc, a), y = call.tensor(b_desc, b), z = call.tensor(c_desc, c);
  call.require(*static_cast<const float*>(beta) == 0, kCnnlNotSupported);
  const float p = *static_cast<const float*>(alpha1), q = *static_cast<const float*>(alpha2);
  const int64_t operation = desc->values[0];
  return emulated::combine(call, x, y, z, [operation, p, q](float left, float right) {
    const float u = p * left, v = q * right;
    return operation == kOpTensorAdd ? u + v : operation == kOpTensorSub ? u - v : u * v;
  });
}

int cnnlGetDivWorkspaceSize(Handle, TensorDesc, TensorDesc, TensorDesc, size_t* workspace) {
  *workspace = emulated::kWorkspace;
  return kCnnlSuccess;
}

int cnnlDiv_v2(Handle handle, int, TensorDesc a_desc, const void* a, TensorDesc b_desc,
               const void* b, void* workspace, size_t bytes, TensorDesc c_desc, void* c) {
  Call call(handle, "cnnlDiv_v2");
  call.workspace(workspace, bytes, emulated::kWorkspace);
  const Tensor x = call.tensor(a_desc, a), y = call.tensor(b_desc, b), z = call.tensor(c_desc, c);
  return emulated::combine(call, x, y, z, [](float left, float right) { return left / right; });
}

int cnnlTransform_v2(Handle handle, int mode, const void* alpha, TensorDesc x_desc, const void* x,
                     const void* beta, TensorDesc y_desc, void* y) {
  Call call(handle, "cnnlTransform_v2");
  const Tensor in = call.tensor(x_desc, x), out = call.tensor(y_desc, y);
  call.require(mode == kPointerModeHost && emulated::plain_pair(in, out));
  if (!call.ok()) return kCnnlBadParam;
  const float factor = *static_cast<const float*>(alpha), offset = *static_cast<const float*>(beta);
  return call.run([in, out, factor, offset] {
    for (int64_t i = 0; i < in.count(); ++i) out.floats()[i] = factor * in.floats()[i] + offset;
    return 0;
  });
}

int cnnlSetActivationDescriptor_v6(OpDesc desc, int mode, int preference, int, float, int, float,
                                   float, bool, bool) {
  if (desc == nullptr || desc->kind != "activation" || preference != kHighPrecision) {
    return kCnnlBadParam;
  }
  desc->values[0] = mode;
  return kCnnlSuccess;
}

int cnnlActivationForward(Handle handle, OpDesc desc, const void*, TensorDesc x_desc, const void* x,
                          const void*, TensorDesc y_desc, void* y) {
  Call call(handle, "cnnlActivationForward");
  call.require(desc != nullptr && desc->values.count(0) == 1);
  if (!call.ok()) return kCnnlBadParam;
  const Tensor in = call.tensor(x_desc, x), out = call.tensor(y_desc, y);
  const int64_t mode = desc->values[0];
  call.require(mode == kSigmoid || mode == kRelu, kCnnlNotSupported);
  call.require(emulated::plain_pair(in, out));
  return call.run([in, out, mode] {
    for (int64_t i = 0; i < in.count(); ++i) {
      const float value = in.floats()[i];
      out.floats()[i] = mode == kRelu ? std::max(value, 0.0f) : 1.0f / (1.0f + std::exp(-value));
    }
    return 0;
  });
}

int cnnlSoftmaxForward(Handle handle, int algorithm, int mode, const void*, TensorDesc x_desc,
                       const void* x, const void*, TensorDesc y_desc, void* y) {
  Call call(handle, "cnnlSoftmaxForward");
  const Tensor in = call.tensor(x_desc, x), out = call.tensor(y_desc, y);
  call.require(algorithm == kSoftmaxAccurate && mode == kSoftmaxLowDimension, kCnnlNotSupported);
  call.require(in.sizes.size() == 3 && emulated::plain_pair(in, out));
  if (!call.ok()) return kCnnlBadParam;
  return call.run([in, out] {
    const int64_t n = in.sizes[2];
    for (int64_t row = 0; row < in.count() / n; ++row) {
      const float* from = in.floats() + row * n;
      float* to = out.floats() + row * n;
      const float largest = *std::max_element(from, from + n);
      float sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += to[i] = std::exp(from[i] - largest);
      for (int64_t i = 0; i < n; ++i) to[i] /= sum;
    }
    return 0;
  });
}

int cnnlGetLayerNormOpWorkspaceSize(Handle, int, TensorDesc, size_t* workspace) {
  *workspace = emulated::kWorkspace;
  return kCnnlSuccess;
}

int cnnlLayerNormForward(Handle handle, TensorDesc x_desc, const void* x, int axis,
                         TensorDesc scale_desc, const void* weight, const void* bias, float epsilon,
                         void* workspace, size_t bytes, TensorDesc y_desc, void* y,
                         TensorDesc mean_desc, void* mean, void* rstd) {
  Call call(handle, "cnnlLayerNormForward");
  call.workspace(workspace, bytes, emulated::kWorkspace);
  const Tensor in = call.tensor(x_desc, x), out = call.tensor(y_desc, y);
  const Tensor scale = call.tensor(scale_desc, weight), shift = call.tensor(scale_desc, bias);
  const Tensor means = call.tensor(mean_desc, mean), roots = call.tensor(mean_desc, rstd);
  call.require(emulated::plain_pair(in, out) && in.sizes.size() == 2 && axis == 1);
  if (!call.ok()) return kCnnlBadParam;
  call.require(scale.count() == in.sizes[1] && means.count() == in.sizes[0]);
  return call.run([=] {
    const int64_t n = in.sizes[1];
    for (int64_t row = 0; row < in.sizes[0]; ++row) {
      const float* from = in.floats() + row * n;
      double sum = 0, squares = 0;
      for (int64_t i = 0; i < n; ++i) sum += from[i];
      const double average = sum / static_cast<double>(n);
      for (int64_t i = 0; i < n; ++i) squares += (from[i] - average) * (from[i] - average);
      const double root = 1 / std::sqrt(squares / static_cast<double>(n) + epsilon);
      for (int64_t i = 0; i < n; ++i) {
        out.floats()[row * n + i] =
            static_cast<float>((from[i] - average) * root * scale.floats()[i] + shift.floats()[i]);
      }
      means.floats()[row] = static_cast<float>(average);
      roots.floats()[row] = static_cast<float>(root);
    }
    return 0;
  });
}

}  // extern "C"
