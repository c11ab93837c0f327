// libcnnl_extra.so, emulated: cnnlFuseNorm as RMS norm, with and without a residual.
#include <cmath>

#include "vendor/cambricon/emulated_cnnl.h"

using emulated::Call;
using emulated::Tensor;

extern "C" {

int cnnlSetFuseNormDescriptor(OpDesc desc, float epsilon, float, bool has_norm_scale,
                              bool has_norm_bias, bool has_bias, bool has_residual,
                              bool store_before_norm, int dtype, int norm) {
  if (desc == nullptr || desc->kind != "norm" || dtype != kFloat) return kCnnlBadParam;
  if (!has_norm_scale || has_norm_bias || has_bias || has_residual != store_before_norm ||
      norm != kTransformerRmsNorm) {
    return kCnnlNotSupported;
  }
  desc->epsilon = epsilon;
  desc->values[0] = has_residual;
  return kCnnlSuccess;
}

int cnnlGetFuseNormWorkspaceSize(Handle, OpDesc, TensorDesc, size_t* workspace) {
  *workspace = emulated::kWorkspace;
  return kCnnlSuccess;
}

int cnnlFuseNorm(Handle handle, OpDesc desc, TensorDesc x_desc, const void* x,
                 TensorDesc scale_desc, const void* scale, TensorDesc, const void* norm_bias,
                 TensorDesc, const void* bias, TensorDesc residual_desc, const void* residual,
                 void* workspace, size_t bytes, TensorDesc y_desc, void* y, TensorDesc sum_desc,
                 void* sum) {
  Call call(handle, "cnnlFuseNorm");
  call.require(desc != nullptr && desc->values.count(0) == 1 && norm_bias == nullptr &&
               bias == nullptr);
  if (!call.ok()) return kCnnlBadParam;
  call.workspace(workspace, bytes, emulated::kWorkspace);
  const bool adds = desc->values[0] != 0;
  const Tensor in = call.tensor(x_desc, x), weight = call.tensor(scale_desc, scale);
  const Tensor out = call.tensor(y_desc, y);
  const Tensor added = adds ? call.tensor(residual_desc, residual) : in;
  const Tensor before = adds ? call.tensor(sum_desc, sum) : Tensor{};
  if (!call.ok()) return kCnnlBadParam;
  call.require(in.sizes.size() == 2 && emulated::same_sizes(in, out) &&
               emulated::same_sizes(in, added) && weight.count() == in.sizes[1]);
  call.require(in.dtype == kFloat && out.dtype == kFloat && weight.dtype == kFloat);
  call.require(in.is_contiguous() && out.is_contiguous() && weight.is_contiguous());
  call.require(!emulated::overlap(in, out));
  if (adds) {
    call.require(emulated::same_sizes(in, before) && !emulated::overlap(in, before) &&
                 !emulated::overlap(added, before) && !emulated::overlap(added, out));
  }
  return call.run([=, epsilon = desc->epsilon, wrong = call.wrong()] {
    const int64_t n = in.sizes[1];
    std::vector<float> row(static_cast<size_t>(n));
    for (int64_t r = 0; r < in.sizes[0]; ++r) {
      double squares = 0;
      for (int64_t i = 0; i < n; ++i) {
        row[i] = in.floats()[r * n + i] + (adds ? added.floats()[r * n + i] : 0.0f);
        squares += static_cast<double>(row[i]) * row[i];
      }
      const auto root =
          static_cast<float>(1 / std::sqrt(squares / static_cast<double>(n) + epsilon));
      for (int64_t i = 0; i < n; ++i) {
        if (adds) before.floats()[r * n + i] = row[i];
        out.floats()[r * n + i] = wrong ? row[i] : row[i] * root * weight.floats()[i];
      }
    }
    return 0;
  });
}

}  // extern "C"
