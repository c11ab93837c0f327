// libcnnl.so, emulated: cnnlBatchMatMulEx. Plain loops, sums in f32 in ascending order.
#include <bit>

#include "vendor/cambricon/emulated_cnnl.h"

namespace emulated {
namespace {

// The 10 bits of mantissa that tensor cores read of f32 where nothing else was asked for.
float to_tf32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0x1000u) & 0xFFFFE000u);
}

Tensor as_batch(const Tensor& x) {
  if (x.sizes.size() == 3) return x;
  Tensor out = x;
  out.sizes.insert(out.sizes.begin(), 1);
  out.strides.insert(out.strides.begin(), 0);
  return out;
}

// Row-major f32 copy of matrix `batch`.
std::vector<float> matrix(const Tensor& x, int64_t batch, bool tf32) {
  std::vector<float> values(static_cast<size_t>(x.sizes[1] * x.sizes[2]));
  float* out = values.data();
  for (int64_t i = 0; i < x.sizes[1]; ++i) {
    for (int64_t j = 0; j < x.sizes[2]; ++j) {
      const float value = x.load(batch * x.strides[0] + i * x.strides[1] + j * x.strides[2]);
      *out++ = tf32 ? to_tf32(value) : value;
    }
  }
  return values;
}

bool has_unit_stride(const Tensor& x) {
  return x.strides[1] == 1 || x.strides[2] == 1 || x.sizes[1] == 1 || x.sizes[2] == 1;
}

void multiply(const Tensor& a, const Tensor& b, const Tensor& c, float alpha, bool tf32) {
  const int64_t m = a.sizes[1], k = a.sizes[2], n = b.sizes[2];
  std::vector<float> row(static_cast<size_t>(n));
  for (int64_t batch = 0; batch < a.sizes[0]; ++batch) {
    const std::vector<float> left = matrix(a, batch, tf32), right = matrix(b, batch, tf32);
    for (int64_t i = 0; i < m; ++i) {
      row.assign(row.size(), 0.0f);
      for (int64_t p = 0; p < k; ++p) {
        const float factor = left[i * k + p];
        const float* other = right.data() + p * n;
        for (int64_t j = 0; j < n; ++j) row[j] += factor * other[j];
      }
      for (int64_t j = 0; j < n; ++j) {
        c.store(batch * c.strides[0] + i * c.strides[1] + j * c.strides[2], alpha * row[j]);
      }
    }
  }
}

}  // namespace
}  // namespace emulated

using emulated::Call;
using emulated::Tensor;

extern "C" {

int cnnlSetMatMulDescAttr(OpDesc desc, int attribute, const void* value, size_t bytes) {
  if (desc == nullptr || desc->kind != "matmul" || bytes != sizeof(int32_t)) return kCnnlBadParam;
  desc->values[attribute] = *static_cast<const int32_t*>(value);
  return kCnnlSuccess;
}

int cnnlGetBatchMatMulExAlgoHeuristic(Handle, OpDesc matmul, TensorDesc a, TensorDesc b,
                                      TensorDesc c, OpDesc, int wanted, OpDesc* results,
                                      int* found) {
  if (matmul == nullptr || matmul->kind != "matmul" || wanted != 1) return kCnnlBadParam;
  if (a == nullptr || b == nullptr || c == nullptr) return kCnnlBadParam;
  (*results)->values[0] = static_cast<int64_t>(emulated::kWorkspace) * 2;
  *found = 1;
  return kCnnlSuccess;
}

int cnnlGetBatchMatMulExHeuristicResult(OpDesc result, OpDesc algo, size_t* workspace) {
  if (result == nullptr || result->kind != "heuristic" || result->values.empty()) {
    return kCnnlBadParam;
  }
  *workspace = static_cast<size_t>(result->values[0]);
  algo->values[0] = result->values[0];
  result->values.clear();
  return kCnnlSuccess;
}

int cnnlBatchMatMulEx(Handle handle, OpDesc matmul, OpDesc algo, const void* alpha,
                      TensorDesc a_desc, const void* a, TensorDesc b_desc, const void* b,
                      const void* beta, TensorDesc c_desc, void* c, void* workspace, size_t bytes) {
  Call call(handle, "cnnlBatchMatMulEx");
  call.require(matmul != nullptr && matmul->kind == "matmul" && algo != nullptr);
  // An algorithm is for one product: it has to be asked for again.
  call.require(call.ok() && algo->values.count(0) == 1);
  if (!call.ok()) return kCnnlBadParam;
  call.workspace(workspace, bytes, static_cast<size_t>(algo->values[0]));
  algo->values.clear();
  const Tensor x = call.tensor(a_desc, a), y = call.tensor(b_desc, b), z = call.tensor(c_desc, c);
  const auto rank_fits = [](const Tensor& t) { return t.sizes.size() == 2 || t.sizes.size() == 3; };
  call.require(rank_fits(x) && x.sizes.size() == y.sizes.size() &&
               x.sizes.size() == z.sizes.size());
  if (!call.ok()) return kCnnlBadParam;
  const Tensor left = emulated::as_batch(x), right = emulated::as_batch(y);
  const Tensor out = emulated::as_batch(z);
  const bool use_stride = matmul->values[kMatMulUseStride] != 0;
  const auto is_dense = [&](const Tensor& t) {
    return use_stride ? emulated::has_unit_stride(t) : t.is_contiguous();
  };
  call.require(is_dense(left) && is_dense(right) && is_dense(out));
  // With strides there is no beta; of the rest ferry asks for none.
  call.require(*static_cast<const float*>(beta) == 0, kCnnlNotSupported);
  call.require(left.sizes[0] == right.sizes[0] && left.sizes[0] == out.sizes[0]);
  call.require(left.sizes[1] == out.sizes[1] && left.sizes[2] == right.sizes[1] &&
               right.sizes[2] == out.sizes[2]);
  call.require(left.dtype == right.dtype && (out.dtype == left.dtype || out.dtype == kFloat) &&
               left.dtype != kInt32);
  const auto allowed = matmul->values.find(kMatMulAllowTf32);
  const bool tf32 =
      left.dtype == kFloat && (allowed == matmul->values.end() || allowed->second != 0);
  return call.run([left, right, out, factor = *static_cast<const float*>(alpha), tf32] {
    emulated::multiply(left, right, out, factor, tf32);
    return 0;
  });
}

}  // extern "C"
