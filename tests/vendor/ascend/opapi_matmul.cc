// libopapi.so, emulated: products of matrices, of a batch, and of groups of rows. Plain loops, sums
// in f32 in ascending order, results rounded to their dtype.
#include "vendor/ascend/emulated_acl.h"

namespace emulated {
namespace {

struct Matrix {
  const Tensor* tensor;
  int64_t offset, rows, cols, row_step, col_step;
};

Matrix matrix_of(const Tensor& x, int64_t batch) {
  const size_t r = x.sizes.size();
  return {.tensor = &x,
          .offset = r == 3 ? batch * x.strides[0] : 0,
          .rows = x.sizes[r - 2],
          .cols = x.sizes[r - 1],
          .row_step = x.strides[r - 2],
          .col_step = x.strides[r - 1]};
}

// Row-major f32 copy, through f16 where the chip multiplies nothing wider.
std::vector<float> values_of(const Matrix& m, bool through_half) {
  std::vector<float> values(static_cast<size_t>(m.rows * m.cols));
  float* out = values.data();
  for (int64_t i = 0; i < m.rows; ++i) {
    for (int64_t j = 0; j < m.cols; ++j) {
      const float value = m.tensor->load(m.offset + i * m.row_step + j * m.col_step);
      *out++ = through_half ? from_half(to_half(value)) : value;
    }
  }
  return values;
}

// What int8 [rows, cols] stands for, rounded to the dtype of its scales, one for each column; so
// may offsets be.
std::vector<float> values_of(const Matrix& m, const Tensor& scales, const Tensor* offsets) {
  std::vector<float> values = values_of(m, false);
  const bool half = scales.dtype == kAclFloat16;
  for (int64_t i = 0; i < m.rows * m.cols; ++i) {
    const float shift = offsets == nullptr ? 0 : offsets->at(i % m.cols);
    const float value = (values[i] + shift) * scales.at(i % m.cols);
    values[i] = half ? from_half(to_half(value)) : from_bfloat(to_bfloat(value));
  }
  return values;
}

void multiply(const std::vector<float>& left, const Matrix& a, const std::vector<float>& right,
              const Matrix& b, const Matrix& c) {
  std::vector<float> row(static_cast<size_t>(b.cols));
  for (int64_t i = 0; i < a.rows; ++i) {
    row.assign(row.size(), 0.0f);
    for (int64_t p = 0; p < a.cols; ++p) {
      const float factor = left[i * a.cols + p];
      const float* other = right.data() + p * b.cols;
      for (int64_t j = 0; j < b.cols; ++j) row[j] += factor * other[j];
    }
    for (int64_t j = 0; j < b.cols; ++j) {
      c.tensor->store(c.offset + i * c.row_step + j * c.col_step, row[j]);
    }
  }
}

void multiply(const Matrix& a, const Matrix& b, const Matrix& c, bool through_half) {
  multiply(values_of(a, through_half), a, values_of(b, through_half), b, c);
}

// Turned around as a whole, or not at all.
bool is_plain_or_turned(const Tensor& x) {
  if (x.sizes.size() != 2) return false;
  Tensor turned = x;
  std::swap(turned.sizes[0], turned.sizes[1]);
  std::swap(turned.strides[0], turned.strides[1]);
  return x.is_contiguous() || turned.is_contiguous();
}

// Of one weight: 16-bit rows by int8 columns, each with a scale.
bool scales_fit(const Tensor& x, const Tensor& weight, const Tensor& scales) {
  return (x.dtype == kAclFloat16 || x.dtype == kAclBf16) && weight.dtype == kAclInt8 &&
         is_plain_or_turned(weight) && scales.dtype == x.dtype && scales.is_contiguous() &&
         scales.sizes == std::vector<int64_t>{weight.sizes[1]};
}

int product(Call& call, size_t rank, const AclTensor* self, const AclTensor* mat2,
            const AclTensor* out, int8_t cube_math_type, uint64_t* workspace,
            AclExecutor** executor) {
  const Tensor a = call.tensor(self), b = call.tensor(mat2), c = call.tensor(out);
  call.require(a.sizes.size() == rank && b.sizes.size() == rank && c.sizes.size() == rank);
  call.require(is_float(a) && a.dtype == b.dtype && a.dtype == c.dtype);
  // 310P has no products of f32: they have to be allowed to be made of f16.
  call.require(!is_310p() || cube_math_type == kAllowF32DownPrecision);
  if (call.ok()) {
    const Matrix x = matrix_of(a, 0), y = matrix_of(b, 0), z = matrix_of(c, 0);
    call.require(x.cols == y.rows && x.rows == z.rows && y.cols == z.cols);
    if (rank == 3) call.require(a.sizes[0] == b.sizes[0] && a.sizes[0] == c.sizes[0]);
  }
  const bool through_half = a.dtype == kAclFloat && cube_math_type == kAllowF32DownPrecision;
  return call.make(
      [=] {
        for (int64_t batch = 0; batch < (rank == 3 ? c.sizes[0] : 1); ++batch) {
          multiply(matrix_of(a, batch), matrix_of(b, batch), matrix_of(c, batch), through_half);
        }
        return 0;
      },
      workspace, executor);
}

// The inputs of both versions, in their order.
struct Grouped {
  const AclTensorList *x, *weight;
  const AclTensorList *scales, *offsets;     // of int8 weights
  std::vector<const AclTensorList*> absent;  // what only other quantised ones and activations have
  const AclTensor* groups;
  int64_t split, group_type, group_list_type, activation;
};

int grouped_product(Call& call, const Grouped& g, const AclTensorList* y, uint64_t* workspace,
                    AclExecutor** executor) {
  for (const AclTensorList* list : g.absent) call.require(list == nullptr);
  call.require(g.x != nullptr && g.weight != nullptr && y != nullptr, kAclnnParamNullptr);
  call.require(g.split == kSplitOneOut && g.group_type == kGroupRows);
  call.require(g.group_list_type == kGroupListEnds && g.activation == 0);
  if (!call.ok()) return call.make(nullptr, workspace, executor);
  call.require(g.x->tensors.size() == 1 && y->tensors.size() == 1);
  call.require(!g.weight->tensors.empty() &&
               g.weight->tensors.size() <= static_cast<size_t>(kMaxGroups));
  if (!call.ok()) return call.make(nullptr, workspace, executor);
  const Tensor x = call.tensor(g.x->tensors[0]), out = call.tensor(y->tensors[0]);
  const Tensor ends = call.tensor(g.groups);
  std::vector<Tensor> weights, scales, offsets_of;
  for (const AclTensor* weight : g.weight->tensors) weights.push_back(call.tensor(weight));
  const bool int8 = call.ok() && weights[0].dtype == kAclInt8;
  call.require(call.ok() && int8 == (g.scales != nullptr) && int8 == (g.offsets != nullptr));
  for (size_t e = 0; int8 && call.ok() && e < weights.size(); ++e) {
    call.require(e < g.scales->tensors.size() && e < g.offsets->tensors.size());
    if (!call.ok()) break;
    scales.push_back(call.tensor(g.scales->tensors[e]));
    const Tensor offsets = call.tensor(g.offsets->tensors[e]);
    call.require(call.ok() && scales_fit(x, weights[e], scales[e]) &&
                 scales_fit(x, weights[e], offsets));
    offsets_of.push_back(offsets);
  }
  call.require(ends.dtype == kAclInt64 && ends.is_contiguous() &&
               ends.count() == static_cast<int64_t>(weights.size()));
  call.require(x.sizes.size() == 2 && out.sizes.size() == 2 && is_float(x) && x.dtype == out.dtype);
  for (const Tensor& w : weights) {
    call.require(call.ok() && (int8 || w.dtype == x.dtype) && w.sizes.size() == 2 &&
                 w.sizes[0] == x.sizes[1] && w.sizes[1] == out.sizes[1]);
  }
  call.require(call.ok() && x.sizes[0] == out.sizes[0]);
  return call.make(
      [x, out, ends, weights, scales, offsets_of, wrong = call.wrong()] {
        int64_t first = 0;
        for (size_t e = 0; e < weights.size(); ++e) {
          const int64_t end = ends.integer(static_cast<int64_t>(e));
          if (end < first || end > x.sizes[0]) return kRtAicoreException;
          Matrix rows = matrix_of(x, 0), results = matrix_of(out, 0);
          rows.offset = first * rows.row_step;
          results.offset = first * results.row_step;
          rows.rows = results.rows = end - first;
          const Matrix w = matrix_of(weights[wrong ? 0 : e], 0);
          if (end > first && scales.empty()) multiply(rows, w, results, false);
          if (end > first && !scales.empty()) {
            multiply(values_of(rows, false), rows, values_of(w, scales[e], &offsets_of[e]), w,
                     results);
          }
          first = end;
        }
        return first == x.sizes[0] ? 0 : kRtAicoreException;
      },
      workspace, executor);
}

}  // namespace
}  // namespace emulated

using emulated::Call;
using emulated::Tensor;

extern "C" {

int aclnnMatmulGetWorkspaceSize(const AclTensor* self, const AclTensor* mat2, AclTensor* out,
                                int8_t type, uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnMatmul");
  return emulated::product(call, 2, self, mat2, out, type, workspace, executor);
}
int aclnnBatchMatMulGetWorkspaceSize(const AclTensor* self, const AclTensor* mat2, AclTensor* out,
                                     int8_t type, uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnBatchMatMul");
  return emulated::product(call, 3, self, mat2, out, type, workspace, executor);
}

int aclnnWeightQuantBatchMatmulV2GetWorkspaceSize(
    const AclTensor* x, const AclTensor* weight, const AclTensor* scale, const AclTensor* offset,
    const AclTensor* out_scale, const AclTensor* out_offset, const AclTensor* bias, int group,
    const AclTensor* y, uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnWeightQuantBatchMatmulV2");
  const Tensor a = call.tensor(x), b = call.tensor(weight), scales = call.tensor(scale);
  const Tensor c = call.tensor(y);
  call.require(offset == nullptr && out_scale == nullptr && out_offset == nullptr &&
               bias == nullptr && group == 0);
  call.require(call.ok() && emulated::scales_fit(a, b, scales) && c.dtype == a.dtype);
  call.require(call.ok() && a.is_contiguous() && c.is_contiguous() && a.sizes.size() == 2 &&
               c.sizes == std::vector<int64_t>{a.sizes[0], b.sizes[1]} && a.sizes[1] == b.sizes[0]);
  call.require(call.ok() && b.sizes[0] <= 65535 && b.sizes[1] <= 65535);
  return call.make(
      [a, b, c, scales, wrong = call.wrong()] {
        const auto left = emulated::matrix_of(a, 0), right = emulated::matrix_of(b, 0);
        const std::vector<float> values =
            wrong ? emulated::values_of(right, false) : emulated::values_of(right, scales, nullptr);
        emulated::multiply(emulated::values_of(left, false), left, values, right,
                           emulated::matrix_of(c, 0));
        return 0;
      },
      workspace, executor);
}

int aclnnGroupedMatmulV4GetWorkspaceSize(
    const AclTensorList* x, const AclTensorList* weight, const AclTensorList* bias,
    const AclTensorList* scale, const AclTensorList* offset, const AclTensorList* antiquant_scale,
    const AclTensorList* antiquant_offset, const AclTensorList* token_scale,
    const AclTensor* groups, const AclTensorList* activation_in,
    const AclTensorList* activation_scale, const AclTensorList* activation_offset, int64_t split,
    int64_t group_type, int64_t group_list_type, int64_t activation, AclTensorList* out,
    AclTensorList* activation_out, AclTensorList* dynamic_scale, uint64_t* workspace,
    AclExecutor** executor) {
  Call call("aclnnGroupedMatmulV4");
  return emulated::grouped_product(
      call,
      {.x = x,
       .weight = weight,
       .scales = antiquant_scale,
       .offsets = antiquant_offset,
       .absent = {bias, scale, offset, token_scale, activation_in, activation_scale,
                  activation_offset, activation_out, dynamic_scale},
       .groups = groups,
       .split = split,
       .group_type = group_type,
       .group_list_type = group_list_type,
       .activation = activation},
      out, workspace, executor);
}
int aclnnGroupedMatmulV5GetWorkspaceSize(
    const AclTensorList* x, const AclTensorList* weight, const AclTensorList* bias,
    const AclTensorList* scale, const AclTensorList* offset, const AclTensorList* antiquant_scale,
    const AclTensorList* antiquant_offset, const AclTensorList* token_scale,
    const AclTensor* groups, const AclTensorList* activation_in,
    const AclTensorList* activation_scale, const AclTensorList* activation_offset, int64_t split,
    int64_t group_type, int64_t group_list_type, int64_t activation, AclIntArray* tuning,
    AclTensorList* out, AclTensorList* activation_out, AclTensorList* dynamic_scale,
    uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnGroupedMatmulV5");
  call.require(tuning == nullptr);
  return emulated::grouped_product(
      call,
      {.x = x,
       .weight = weight,
       .scales = antiquant_scale,
       .offsets = antiquant_offset,
       .absent = {bias, scale, offset, token_scale, activation_in, activation_scale,
                  activation_offset, activation_out, dynamic_scale},
       .groups = groups,
       .split = split,
       .group_type = group_type,
       .group_list_type = group_list_type,
       .activation = activation},
      out, workspace, executor);
}

}  // extern "C"
