// Products with stored weights: one matrix, one per head, one per expert. The other operand is
// rounded to the weight's dtype, sums are f32.
#include "backends/cambricon/stream.h"

namespace ferry::cambricon {
namespace {

// [rows, cols] of row-major memory as [1, rows, cols], and turned around as [1, cols, rows].
TensorView one_matrix(const TensorView& x) {
  return strided(x.data, x.dtype, {1, x.shape[0], x.shape[1]},
                 {x.shape[0] * x.stride[0], x.stride[0], 1});
}
TensorView turned(const TensorView& x) {
  return strided(x.data, x.dtype, {1, x.shape[1], x.shape[0]},
                 {x.shape[0] * x.stride[0], 1, x.stride[0]});
}

}  // namespace

void CambriconStream::multiply(const TensorView& x, const TensorView& w, const TensorView& out) {
  calls_->matmul(one_matrix(calls_->as(x, w.dtype)), turned(w), one_matrix(out));
}

void CambriconStream::matmul(const MatmulArgs& args) {
  if (!calls_->begin("matmul")) return;
  const TensorView& w = device_weight(args.w).matrix;
  if (args.bias.empty()) return multiply(args.x, w, args.out);
  const TensorView out = target(args.out);
  multiply(args.x, w, out);
  calls_->binary(kOpTensorAdd, out, reshape(args.bias, {1, args.w.rows}), out);
  put(out, args.out);
}

// The stored matrix M of a head is U or Uᵀ; what is applied is U or Uᵀ; they agree or they don't.
void CambriconStream::per_head_matmul(const PerHeadMatmulArgs& args) {
  if (!calls_->begin("per_head_matmul")) return;
  const HeadMatrixView& u = args.u;
  const bool by_rows = u.transposed == args.apply_transposed;  // out = M x, otherwise out = Mᵀ x
  const TensorView& stored = device_weight(u.weight).matrix;
  TensorView m = strided(at(stored, u.first_row, 0), stored.dtype, {u.num_heads, u.rows, u.cols},
                         {u.head_stride * u.cols, u.cols, 1});
  if (by_rows) {
    std::swap(m.shape[1], m.shape[2]);
    std::swap(m.stride[1], m.stride[2]);
  }
  const auto by_head = [](const TensorView& x) {  // [T, H, ·] as [H, T, ·]
    TensorView heads = x;
    std::swap(heads.shape[0], heads.shape[1]);
    std::swap(heads.stride[0], heads.stride[1]);
    return heads;
  };
  calls_->matmul(by_head(calls_->as(args.x, stored.dtype)), m, by_head(args.out));
}

void CambriconStream::multiply_experts(const TensorView& x, const std::vector<int32_t>& offsets,
                                       std::span<const WeightView> experts, const TensorView& out) {
  for (size_t e = 0; e < experts.size(); ++e) {
    const int64_t first = offsets[e], count = offsets[e + 1] - first;
    if (count == 0) continue;
    multiply(x.slice(0, first, count), device_weight(experts[e]).matrix,
             out.slice(0, first, count));
  }
}

void CambriconStream::grouped_matmul(const GroupedMatmulArgs& args) {
  if (!calls_->begin("grouped_matmul")) return;
  const std::vector<int32_t> offsets = calls_->read_back(args.expert_offsets);
  if (!calls_->ok()) return;
  multiply_experts(args.x, offsets, args.experts, args.out);
}

}  // namespace ferry::cambricon
