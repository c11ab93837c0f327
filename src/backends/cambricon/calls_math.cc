// Calls, part 2: one method per operation of CNNL. See calls.h.
#include <limits>

#include "backends/cambricon/calls.h"

namespace ferry::cambricon {

using composed::reshape;
using composed::strided;

namespace {

const float kOne = 1, kZero = 0;

// [batch, m, n] as CNNL wants it: two dimensions where there is one matrix.
TensorView matrix_of(const TensorView& x) {
  CHECK(x.rank == 3);
  if (x.shape[0] != 1) return x;
  return strided(x.data, x.dtype, {x.shape[1], x.shape[2]}, {x.stride[1], x.stride[2]});
}

int cnnl_operation(BinaryOp operation) {
  switch (operation) {
    case BinaryOp::kAdd: return kOpTensorAdd;
    case BinaryOp::kSub: return kOpTensorSub;
    default: return kOpTensorMul;
  }
}

int cast_kind(Dtype from, Dtype to) {
  const bool to_f32 = to == Dtype::kF32;
  CHECK(to_f32 || from == Dtype::kF32);
  switch (to_f32 ? from : to) {
    case Dtype::kF16: return to_f32 ? kCastHalfToFloat : kCastFloatToHalf;
    case Dtype::kBF16: return to_f32 ? kCastBfloat16ToFloat : kCastFloatToBfloat16;
    default: CHECK(to_f32 && from == Dtype::kI8); return kCastInt8ToFloat;
  }
}

TensorView flat(const TensorView& x) { return reshape(x, {x.num_elements()}); }

}  // namespace

std::string_view Calls::symbol_of(Primitive primitive) const {
  switch (primitive) {
    case Primitive::kCopy: return "cnnlCopy_v2";
    case Primitive::kCast: return "cnnlCastDataType";
    case Primitive::kBinary: return "cnnlOpTensor";
    case Primitive::kAffine: return "cnnlTransform_v2";
    case Primitive::kActivation: return "cnnlActivationForward";
    case Primitive::kSoftmax: return "cnnlSoftmaxForward";
    case Primitive::kMatmul: return "cnnlBatchMatMulEx";
    case Primitive::kSelectRows: return "cnnlIndexSelect";
    case Primitive::kWriteRows: return "cnnlScatterNd_v2";
    case Primitive::kTopK: return "cnnlTopKTensor_v3";
    case Primitive::kGather: return "cnnlGather_v2";
    case Primitive::kScatter: return "cnnlScatter_v2";
    case Primitive::kDivide: return "cnnlDiv_v2";
    case Primitive::kRmsNorm: return "cnnlFuseNorm";
    case Primitive::kLayerNorm: return "cnnlLayerNormForward";
    default: return "";  // not called
  }
}

void Calls::copy(const TensorView& x, const TensorView& out) {
  CHECK(x.dtype == out.dtype && x.num_elements() == out.num_elements());
  if (!ok() || x.num_elements() == 0) return;
  const Desc from(*this, x), to(*this, out);
  size_t bytes = 0;
  if (ok()) {
    check_cnnl("cnnlGetCopyWorkspaceSize",
               vendor().cnnlGetCopyWorkspaceSize(handle_, from, to, &bytes));
  }
  void* space = workspace(bytes);
  if (!ok()) return;
  check_cnnl("cnnlCopy_v2",
             vendor().cnnlCopy_v2(handle_, from, x.data, to, out.data, space, bytes));
}

void Calls::cast(const TensorView& x, const TensorView& out) {
  CHECK(x.is_contiguous() && out.is_contiguous() && x.num_elements() == out.num_elements());
  if (!ok() || x.num_elements() == 0) return;
  const int kind = cast_kind(x.dtype, out.dtype);
  const Desc from(*this, flat(x)), to(*this, flat(out));
  if (!ok()) return;
  check_cnnl("cnnlCastDataType",
             vendor().cnnlCastDataType(handle_, from, x.data, kind, to, out.data));
}

void Calls::binary(BinaryOp operation, const TensorView& a, const TensorView& b,
                   const TensorView& out) {
  CHECK(a.is_contiguous() && b.is_contiguous() && out.is_contiguous());
  if (!ok() || out.num_elements() == 0) return;
  const Desc left(*this, a), right(*this, b), to(*this, out);
  if (ok()) {
    check_cnnl("cnnlSetOpTensorDescriptor",
               vendor().cnnlSetOpTensorDescriptor(op_tensor_, cnnl_operation(operation), kFloat,
                                                  kPropagateNan));
  }
  size_t bytes = 0;
  if (ok()) {
    check_cnnl(
        "cnnlGetOpTensorWorkspaceSize_v2",
        vendor().cnnlGetOpTensorWorkspaceSize_v2(handle_, op_tensor_, &kOne, left, a.data, &kOne,
                                                 right, b.data, &kZero, to, out.data, &bytes));
  }
  void* space = workspace(bytes);
  if (!ok()) return;
  check_cnnl("cnnlOpTensor",
             vendor().cnnlOpTensor(handle_, op_tensor_, &kOne, left, a.data, &kOne, right, b.data,
                                   space, bytes, &kZero, to, out.data));
}

void Calls::affine(const TensorView& x, float factor, float offset, const TensorView& out) {
  if (!ok() || x.num_elements() == 0) return;
  const Desc from(*this, flat(x)), to(*this, flat(out));
  if (!ok()) return;
  check_cnnl("cnnlTransform_v2", vendor().cnnlTransform_v2(handle_, kPointerModeHost, &factor, from,
                                                           x.data, &offset, to, out.data));
}

void Calls::activation(Activation mode, const TensorView& x, const TensorView& out) {
  if (!ok() || x.num_elements() == 0) return;
  const Desc from(*this, flat(x)), to(*this, flat(out));
  if (ok()) {
    check_cnnl("cnnlSetActivationDescriptor_v6",
               vendor().cnnlSetActivationDescriptor_v6(
                   activation_, mode == Activation::kSigmoid ? kSigmoid : kRelu, kHighPrecision,
                   kPropagateNan, 0, 0, 0, 0, false, false));
  }
  if (!ok()) return;
  check_cnnl("cnnlActivationForward",
             vendor().cnnlActivationForward(handle_, activation_, nullptr, from, x.data, nullptr,
                                            to, out.data));
}

void Calls::softmax(const TensorView& x, const TensorView& out) {
  if (!ok() || x.num_elements() == 0) return;
  const auto three = [](const TensorView& v) { return reshape(v, {v.shape[0], 1, v.shape[1]}); };
  const Desc from(*this, three(x)), to(*this, three(out));
  if (!ok()) return;
  check_cnnl("cnnlSoftmaxForward",
             vendor().cnnlSoftmaxForward(handle_, kSoftmaxAccurate, kSoftmaxLowDimension, nullptr,
                                         from, x.data, nullptr, to, out.data));
}

void Calls::matmul(const TensorView& a, const TensorView& b, const TensorView& c, float factor) {
  CHECK(a.dtype == b.dtype && (c.dtype == a.dtype || c.dtype == Dtype::kF32));
  CHECK(a.shape[2] == b.shape[1] && a.shape[1] == c.shape[1] && b.shape[2] == c.shape[2]);
  if (!ok() || c.num_elements() == 0) return;
  const Desc left(*this, matrix_of(a)), right(*this, matrix_of(b)), to(*this, matrix_of(c));
  int found = 0;
  if (ok()) {
    check_cnnl("cnnlGetBatchMatMulExAlgoHeuristic",
               vendor().cnnlGetBatchMatMulExAlgoHeuristic(handle_, matmul_, left, right, to,
                                                          nullptr, 1, &heuristic_, &found));
  }
  size_t bytes = 0;
  if (ok()) {
    check_cnnl("cnnlGetBatchMatMulExHeuristicResult",
               vendor().cnnlGetBatchMatMulExHeuristicResult(heuristic_, algo_, &bytes));
  }
  void* space = workspace(bytes);
  if (!ok()) return;
  check_cnnl("cnnlBatchMatMulEx",
             vendor().cnnlBatchMatMulEx(handle_, matmul_, algo_, &factor, left, a.data, right,
                                        b.data, &kZero, to, c.data, space, bytes));
}

void Calls::select_rows(const TensorView& table, const TensorView& index, const TensorView& out) {
  CHECK(table.is_contiguous() && out.is_contiguous() && table.dtype == out.dtype);
  if (!ok() || out.num_elements() == 0) return;
  const Desc from(*this, table), which(*this, index), to(*this, out);
  if (!ok()) return;
  check_cnnl("cnnlIndexSelect", vendor().cnnlIndexSelect(handle_, 0, from, table.data, which,
                                                         index.data, to, out.data));
}

void Calls::write_rows(const TensorView& rows, const TensorView& index, const TensorView& table) {
  CHECK(rows.is_contiguous() && table.is_contiguous() && rows.dtype == table.dtype);
  if (!ok() || rows.num_elements() == 0) return;
  const Desc which(*this, reshape(index, {index.shape[0], 1})), from(*this, rows);
  const Desc to(*this, table);
  if (!ok()) return;
  check_cnnl("cnnlScatterNd_v2",
             vendor().cnnlScatterNd_v2(handle_, kScatterNdUpdate, which, index.data, from,
                                       rows.data, to, table.data, to, table.data));
}

void Calls::top_k(const TensorView& x, int64_t k, const TensorView& values,
                  const TensorView& indices) {
  if (!ok() || x.num_elements() == 0) return;
  const Desc from(*this, x), largest(*this, values), which(*this, indices);
  const int count = static_cast<int>(k);
  size_t bytes = 0;
  if (ok()) {
    check_cnnl("cnnlGetTopKTensorWorkspaceSize",
               vendor().cnnlGetTopKTensorWorkspaceSize(handle_, from, count, 1, true, largest,
                                                       which, &bytes));
  }
  void* space = workspace(bytes);
  if (!ok()) return;
  check_cnnl("cnnlTopKTensor_v3",
             vendor().cnnlTopKTensor_v3(handle_, from, x.data, count, 1, true, true, true, space,
                                        bytes, largest, values.data, which, indices.data));
}

void Calls::gather(const TensorView& x, const TensorView& index, const TensorView& out) {
  if (!ok() || out.num_elements() == 0) return;
  const Desc from(*this, x), which(*this, index), to(*this, out);
  size_t bytes = 0;
  if (ok()) {
    check_cnnl("cnnlGetGatherWorkspaceSize",
               vendor().cnnlGetGatherWorkspaceSize(handle_, from, which, to, 1, &bytes));
  }
  void* space = workspace(bytes);
  if (!ok()) return;
  check_cnnl("cnnlGather_v2", vendor().cnnlGather_v2(handle_, 1, from, x.data, which, index.data,
                                                     space, bytes, to, out.data));
}

void Calls::scatter(const TensorView& values, const TensorView& index, const TensorView& x) {
  if (!ok() || values.num_elements() == 0) return;
  const Desc from(*this, values), which(*this, index), to(*this, x);
  size_t bytes = 0;
  if (ok()) {
    check_cnnl("cnnlGetScatterWorkspaceSize",
               vendor().cnnlGetScatterWorkspaceSize(handle_, which, &bytes));
  }
  void* space = workspace(bytes);
  if (!ok()) return;
  check_cnnl("cnnlScatter_v2",
             vendor().cnnlScatter_v2(handle_, 1, to, x.data, which, index.data, from, values.data,
                                     space, bytes, to, x.data, kScatterReplace));
}

void Calls::divide(const TensorView& a, const TensorView& b, const TensorView& out) {
  if (!ok() || out.num_elements() == 0) return;
  const Desc left(*this, a), right(*this, b), to(*this, out);
  size_t bytes = 0;
  if (ok()) {
    check_cnnl("cnnlGetDivWorkspaceSize",
               vendor().cnnlGetDivWorkspaceSize(handle_, left, right, to, &bytes));
  }
  void* space = workspace(bytes);
  if (!ok()) return;
  check_cnnl("cnnlDiv_v2", vendor().cnnlDiv_v2(handle_, kHighPrecision, left, a.data, right, b.data,
                                               space, bytes, to, out.data));
}

void Calls::rms_norm(const TensorView& x, const TensorView& weight, float epsilon,
                     const TensorView* residual, const TensorView* sum, const TensorView& out) {
  CHECK(x.is_contiguous() && out.is_contiguous() && (residual == nullptr) == (sum == nullptr));
  if (!ok() || x.num_elements() == 0) return;
  const bool adds = residual != nullptr;
  const Desc from(*this, x), scale(*this, weight), to(*this, out);
  const TensorDesc also = adds ? static_cast<TensorDesc>(from) : nullptr;  // of the same shape
  if (ok()) {
    check_cnnl("cnnlSetFuseNormDescriptor",
               vendor().cnnlSetFuseNormDescriptor(norm_, epsilon, 1, true, false, false, adds, adds,
                                                  kFloat, kTransformerRmsNorm));
  }
  size_t bytes = 0;
  if (ok()) {
    check_cnnl("cnnlGetFuseNormWorkspaceSize",
               vendor().cnnlGetFuseNormWorkspaceSize(handle_, norm_, from, &bytes));
  }
  void* space = workspace(bytes);
  if (!ok()) return;
  check_cnnl("cnnlFuseNorm",
             vendor().cnnlFuseNorm(handle_, norm_, from, x.data, scale, weight.data, nullptr,
                                   nullptr, nullptr, nullptr, also, adds ? residual->data : nullptr,
                                   space, bytes, to, out.data, also, adds ? sum->data : nullptr));
}

void Calls::layer_norm(const TensorView& x, const TensorView& weight, const TensorView& bias,
                       float epsilon, const TensorView& out) {
  if (!ok() || x.num_elements() == 0) return;
  const TensorView mean = scratch(Dtype::kF32, {x.shape[0]});
  const TensorView rstd = scratch(Dtype::kF32, {x.shape[0]});
  const Desc from(*this, x), scale(*this, weight), to(*this, out), per_row(*this, mean);
  size_t bytes = 0;
  if (ok()) {
    check_cnnl("cnnlGetLayerNormOpWorkspaceSize",
               vendor().cnnlGetLayerNormOpWorkspaceSize(handle_, 1, from, &bytes));
  }
  void* space = workspace(bytes);
  if (!ok()) return;
  check_cnnl("cnnlLayerNormForward",
             vendor().cnnlLayerNormForward(handle_, from, x.data, 1, scale, weight.data, bias.data,
                                           epsilon, space, bytes, to, out.data, per_row, mean.data,
                                           rstd.data));
}

}  // namespace ferry::cambricon
