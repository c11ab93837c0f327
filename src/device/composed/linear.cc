// Products with stored weights: one matrix, one per head, one per expert. The other operand is
// rounded to the weight's dtype, sums are f32.
#include "device/composed/stream.h"

namespace ferry::composed {
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

void ComposedStream::multiply(const TensorView& x, const TensorView& w, const TensorView& out) {
  p_->matmul(one_matrix(p_->as(x, w.dtype)), turned(w), one_matrix(out));
}

void ComposedStream::matmul(const MatmulArgs& args) {
  if (!p_->begin("matmul")) return;
  const TensorView& w = device_weight(args.w).matrix;
  if (args.bias.empty()) return multiply(args.x, w, args.out);
  const TensorView out = target(args.out);
  multiply(args.x, w, out);
  p_->binary(BinaryOp::kAdd, out, reshape(args.bias, {1, args.w.rows}), out);
  put(out, args.out);
}

// The stored matrix M of a head is U or Uᵀ; what is applied is U or Uᵀ; they agree or they don't.
void ComposedStream::per_head_matmul(const PerHeadMatmulArgs& args) {
  if (!p_->begin("per_head_matmul")) return;
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
  p_->matmul(by_head(p_->as(args.x, stored.dtype)), m, by_head(args.out));
}

void ComposedStream::multiply_experts(const TensorView& x, const std::vector<int32_t>& offsets,
                                      std::span<const WeightView> experts, const TensorView& out) {
  for (size_t e = 0; e < experts.size(); ++e) {
    const int64_t first = offsets[e], count = offsets[e + 1] - first;
    if (count == 0) continue;
    multiply(x.slice(0, first, count), device_weight(experts[e]).matrix,
             out.slice(0, first, count));
  }
}

void ComposedStream::grouped_matmul(const GroupedMatmulArgs& args) {
  if (!p_->begin("grouped_matmul")) return;
  const std::vector<int32_t> offsets = p_->read_back(args.expert_offsets);
  if (!p_->ok()) return;
  multiply_experts(args.x, offsets, args.experts, args.out);
}

}  // namespace ferry::composed
