// Products with stored weights: one matrix, one per head, one per expert. The other operand is
// rounded to the weight's dtype, sums are f32.
#include <algorithm>

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

// Elements of an int8 matrix that are wide at once.
constexpr int64_t kMaxWidened = int64_t{4} << 20;
// Columns that fused products of int8 take.
constexpr int64_t kMaxInt8Columns = 65535;

}  // namespace

void ComposedStream::multiply(const TensorView& x, const DeviceWeight& w, const TensorView& out) {
  if (w.scales.empty()) {
    return p_->matmul(one_matrix(p_->as(x, w.matrix.dtype)), turned(w.matrix), one_matrix(out));
  }
  const TensorView from = p_->as(x, w.scales.dtype);
  if (paths_.int8_matmul && w.matrix.shape[1] <= kMaxInt8Columns) {
    return p_->int8_matmul(from, w.matrix, w.scales, out);
  }
  multiply_widened(from, w, out);
}

// Some rows of W at a time are made what they stand for, in the narrow dtype.
void ComposedStream::multiply_widened(const TensorView& x, const DeviceWeight& w,
                                      const TensorView& out) {
  const int64_t rows = w.matrix.shape[0], cols = w.matrix.shape[1];
  const int64_t step = std::clamp<int64_t>(kMaxWidened / cols, 1, rows);
  const TensorView scales = p_->as(w.scales, Dtype::kF32);
  const TensorView wide = p_->scratch(Dtype::kF32, {step, cols});
  const TensorView narrow = p_->scratch(x.dtype, {step, cols});
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    const TensorView values = wide.slice(0, 0, count), part = narrow.slice(0, 0, count);
    p_->cast(w.matrix.slice(0, first, count), values);
    p_->binary(BinaryOp::kMul, values, reshape(scales.slice(0, first, count), {count, 1}), values);
    p_->cast(values, part);
    p_->matmul(one_matrix(x), turned(part), one_matrix(out.slice(1, first, count)));
  }
}

void ComposedStream::matmul(const MatmulArgs& args) {
  if (!p_->begin("matmul")) return;
  const DeviceWeight& w = device_weight(args.w);
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
  const TensorView& stored = head_matrix(u);
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
    const Primitives::Mark mark = p_->mark();
    multiply(x.slice(0, first, count), device_weight(experts[e]), out.slice(0, first, count));
    p_->rewind(mark);
  }
}

void ComposedStream::grouped_matmul(const GroupedMatmulArgs& args) {
  if (!p_->begin("grouped_matmul")) return;
  const std::vector<int32_t> offsets = p_->read_back(args.expert_offsets);
  if (!p_->ok()) return;
  multiply_experts(args.x, offsets, args.experts, args.out);
}

}  // namespace ferry::composed
