// libopapi.so, emulated: copies, casts, element-wise operators, softmax, norms.
#include <algorithm>
#include <cmath>

#include "vendor/ascend/emulated_acl.h"

namespace emulated {
namespace {

// x with the sizes of `shape`, stride 0 where it has size 1 and the other has not.
Tensor spread(const Tensor& x, const Tensor& shape) {
  Tensor out = x;
  for (size_t i = 0; i < x.sizes.size(); ++i) {
    if (x.sizes[i] != shape.sizes[i]) out.strides[i] = 0;
  }
  out.sizes = shape.sizes;
  return out;
}

bool spreads(const Tensor& x, const Tensor& shape) {
  if (x.sizes.size() != shape.sizes.size()) return false;
  for (size_t i = 0; i < x.sizes.size(); ++i) {
    if (x.sizes[i] != shape.sizes[i] && x.sizes[i] != 1) return false;
  }
  return true;
}

using Binary = float (*)(float, float);

int combine(Call& call, const AclTensor* a, const AclTensor* b, const AclTensor* c,
            Binary operation, uint64_t* workspace, AclExecutor** executor) {
  const Tensor x = call.tensor(a), y = call.tensor(b), z = call.tensor(c);
  call.require(is_float(x) && x.dtype == y.dtype && x.dtype == z.dtype);
  call.require(spreads(x, z) && spreads(y, z));
  if (!call.ok()) return call.make(nullptr, workspace, executor);
  return call.make(
      [left = spread(x, z), right = spread(y, z), z, operation, wrong = call.wrong()] {
        for (int64_t i = 0; i < z.count(); ++i) {
          const float value = operation(left.at(i), right.at(i));
          z.put(i, wrong ? -value : value);
        }
        return 0;
      },
      workspace, executor);
}

template <typename Function>
int map(Call& call, const AclTensor* x, const AclTensor* y, Function function, uint64_t* workspace,
        AclExecutor** executor) {
  const Tensor in = call.tensor(x), out = call.tensor(y);
  call.require(is_float(in) && in.dtype == out.dtype && same_sizes(in, out));
  return call.make(
      [in, out, function] {
        for (int64_t i = 0; i < in.count(); ++i) out.put(i, function(in.at(i)));
        return 0;
      },
      workspace, executor);
}

}  // namespace
}  // namespace emulated

using emulated::Call;
using emulated::Tensor;

extern "C" {

int aclnnInplaceCopyGetWorkspaceSize(AclTensor* self, const AclTensor* src, uint64_t* workspace,
                                     AclExecutor** executor) {
  Call call("aclnnInplaceCopy");
  const Tensor out = call.tensor(self), in = call.tensor(src);
  call.require(in.dtype == out.dtype && emulated::same_sizes(in, out));
  return call.make(
      [in, out] {
        const int64_t size = emulated::bytes_of(in.dtype);
        for (int64_t i = 0; i < in.count(); ++i) {
          std::copy_n(in.data + in.offset_of(i) * size, size, out.data + out.offset_of(i) * size);
        }
        return 0;
      },
      workspace, executor);
}

int aclnnCastGetWorkspaceSize(const AclTensor* self, int dtype, AclTensor* out, uint64_t* workspace,
                              AclExecutor** executor) {
  Call call("aclnnCast");
  const Tensor x = call.tensor(self), y = call.tensor(out);
  call.require((emulated::is_float(x) || x.dtype == kAclInt8) && emulated::is_float(y) &&
               y.dtype == dtype && emulated::same_sizes(x, y));
  return call.make(
      [x, y, wrong = call.wrong()] {
        for (int64_t i = 0; i < x.count(); ++i)
          y.put(i, wrong && y.dtype != kAclFloat ? -x.at(i) : x.at(i));
        return 0;
      },
      workspace, executor);
}

int aclnnAddGetWorkspaceSize(const AclTensor* self, const AclTensor* other, const AclScalar* alpha,
                             AclTensor* out, uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnAdd");
  call.require(alpha != nullptr && alpha->value == 1);
  const auto add = [](float a, float b) { return a + b; };
  return emulated::combine(call, self, other, out, add, workspace, executor);
}
int aclnnSubGetWorkspaceSize(const AclTensor* self, const AclTensor* other, const AclScalar* alpha,
                             AclTensor* out, uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnSub");
  call.require(alpha != nullptr && alpha->value == 1);
  const auto subtract = [](float a, float b) { return a - b; };
  return emulated::combine(call, self, other, out, subtract, workspace, executor);
}
int aclnnMulGetWorkspaceSize(const AclTensor* self, const AclTensor* other, AclTensor* out,
                             uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnMul");
  const auto multiply = [](float a, float b) { return a * b; };
  return emulated::combine(call, self, other, out, multiply, workspace, executor);
}
int aclnnDivGetWorkspaceSize(const AclTensor* self, const AclTensor* other, AclTensor* out,
                             uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnDiv");
  const auto divide = [](float a, float b) { return a / b; };
  return emulated::combine(call, self, other, out, divide, workspace, executor);
}

int aclnnMulsGetWorkspaceSize(const AclTensor* self, const AclScalar* other, AclTensor* out,
                              uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnMuls");
  call.require(other != nullptr, kAclnnParamNullptr);
  const float factor = call.ok() ? other->value : 0;
  return emulated::map(
      call, self, out, [factor](float x) { return factor * x; }, workspace, executor);
}
int aclnnAddsGetWorkspaceSize(const AclTensor* self, const AclScalar* other, const AclScalar* alpha,
                              AclTensor* out, uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnAdds");
  call.require(other != nullptr && alpha != nullptr, kAclnnParamNullptr);
  const float offset = call.ok() ? alpha->value * other->value : 0;
  return emulated::map(
      call, self, out, [offset](float x) { return x + offset; }, workspace, executor);
}
int aclnnSigmoidGetWorkspaceSize(const AclTensor* self, AclTensor* out, uint64_t* workspace,
                                 AclExecutor** executor) {
  Call call("aclnnSigmoid");
  return emulated::map(
      call, self, out, [](float x) { return 1 / (1 + std::exp(-x)); }, workspace, executor);
}
int aclnnReluGetWorkspaceSize(const AclTensor* self, AclTensor* out, uint64_t* workspace,
                              AclExecutor** executor) {
  Call call("aclnnRelu");
  return emulated::map(
      call, self, out, [](float x) { return std::max(x, 0.0f); }, workspace, executor);
}

int aclnnSoftmaxGetWorkspaceSize(const AclTensor* self, int64_t dim, AclTensor* out,
                                 uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnSoftmax");
  const Tensor x = call.tensor(self), y = call.tensor(out);
  call.require(dim == -1 && emulated::is_float(x) && x.dtype == y.dtype &&
               emulated::same_sizes(x, y));
  return call.make(
      [x, y] {
        const int64_t n = x.sizes.back();
        for (int64_t first = 0; first < x.count(); first += n) {
          float largest = -INFINITY, sum = 0;
          for (int64_t i = 0; i < n; ++i) largest = std::max(largest, x.at(first + i));
          std::vector<float> row(static_cast<size_t>(n));
          for (int64_t i = 0; i < n; ++i) sum += row[i] = std::exp(x.at(first + i) - largest);
          for (int64_t i = 0; i < n; ++i) y.put(first + i, row[i] / sum);
        }
        return 0;
      },
      workspace, executor);
}

}  // extern "C"

namespace emulated {
namespace {

// x [rows, n] over its root mean square, times gamma; and the factor of each row.
void norm_rows(const Tensor& x, const Tensor& gamma, double epsilon, const Tensor& y,
               const Tensor& rstd) {
  const int64_t n = x.sizes.back();
  for (int64_t row = 0; row < x.count() / n; ++row) {
    double squares = 0;
    for (int64_t i = 0; i < n; ++i) squares += double{x.at(row * n + i)} * x.at(row * n + i);
    const double root = 1 / std::sqrt(squares / static_cast<double>(n) + epsilon);
    for (int64_t i = 0; i < n; ++i) {
      y.put(row * n + i, static_cast<float>(x.at(row * n + i) * root * gamma.at(i)));
    }
    rstd.put(row, static_cast<float>(root));
  }
}

bool norm_fits(const Tensor& x, const Tensor& gamma, const Tensor& y, const Tensor& rstd) {
  return is_float(x) && x.sizes.size() == 2 && same_sizes(x, y) && x.dtype == y.dtype &&
         gamma.dtype == x.dtype && gamma.count() == x.sizes[1] && rstd.dtype == kAclFloat &&
         rstd.sizes == std::vector<int64_t>{x.sizes[0], 1};
}

}  // namespace
}  // namespace emulated

extern "C" {

int aclnnRmsNormGetWorkspaceSize(const AclTensor* x, const AclTensor* gamma, double epsilon,
                                 const AclTensor* y, const AclTensor* rstd, uint64_t* workspace,
                                 AclExecutor** executor) {
  Call call("aclnnRmsNorm");
  const Tensor in = call.tensor(x), scale = call.tensor(gamma), out = call.tensor(y);
  const Tensor root = call.tensor(rstd);
  call.require(call.ok() && emulated::norm_fits(in, scale, out, root));
  return call.make(
      [=] {
        emulated::norm_rows(in, scale, epsilon, out, root);
        return 0;
      },
      workspace, executor);
}

int aclnnAddRmsNormGetWorkspaceSize(const AclTensor* x1, const AclTensor* x2,
                                    const AclTensor* gamma, double epsilon, const AclTensor* y,
                                    const AclTensor* rstd, const AclTensor* x, uint64_t* workspace,
                                    AclExecutor** executor) {
  Call call("aclnnAddRmsNorm");
  const Tensor a = call.tensor(x1), b = call.tensor(x2), sum = call.tensor(x);
  const Tensor scale = call.tensor(gamma), out = call.tensor(y), root = call.tensor(rstd);
  call.require(call.ok() && emulated::norm_fits(a, scale, out, root));
  call.require(emulated::same_sizes(a, b) && emulated::same_sizes(a, sum));
  return call.make(
      [=] {
        for (int64_t i = 0; i < a.count(); ++i) sum.put(i, a.at(i) + b.at(i));
        emulated::norm_rows(sum, scale, epsilon, out, root);
        return 0;
      },
      workspace, executor);
}

int aclnnLayerNormGetWorkspaceSize(const AclTensor* input, const AclIntArray* shape,
                                   const AclTensor* weight, const AclTensor* bias, double epsilon,
                                   AclTensor* out, AclTensor* mean, AclTensor* rstd,
                                   uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnLayerNorm");
  const Tensor x = call.tensor(input), scale = call.tensor(weight), shift = call.tensor(bias);
  const Tensor y = call.tensor(out), means = call.tensor(mean), roots = call.tensor(rstd);
  call.require(call.ok() && shape != nullptr && emulated::norm_fits(x, scale, y, roots));
  call.require(call.ok() && shape->values == std::vector<int64_t>{x.sizes[1]} &&
               shift.count() == x.sizes[1] && means.count() == x.sizes[0]);
  return call.make(
      [=] {
        const int64_t n = x.sizes[1];
        for (int64_t row = 0; row < x.sizes[0]; ++row) {
          double sum = 0, squares = 0;
          for (int64_t i = 0; i < n; ++i) sum += x.at(row * n + i);
          const double average = sum / static_cast<double>(n);
          for (int64_t i = 0; i < n; ++i) squares += std::pow(x.at(row * n + i) - average, 2);
          const double root = 1 / std::sqrt(squares / static_cast<double>(n) + epsilon);
          for (int64_t i = 0; i < n; ++i) {
            y.put(row * n + i,
                  static_cast<float>((x.at(row * n + i) - average) * root * scale.at(i) +
                                     shift.at(i)));
          }
          means.put(row, static_cast<float>(average));
          roots.put(row, static_cast<float>(root));
        }
        return 0;
      },
      workspace, executor);
}

int aclnnSwiGluGetWorkspaceSize(const AclTensor* x, int64_t dim, const AclTensor* y,
                                uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnSwiGlu");
  const Tensor in = call.tensor(x), out = call.tensor(y);
  call.require(call.ok() && dim == -1 && emulated::is_float(in) && in.dtype == out.dtype &&
               in.sizes.size() == 2 && out.is_contiguous() &&
               in.sizes == std::vector<int64_t>{out.sizes[0], 2 * out.sizes[1]});
  return call.make(
      [in, out, wrong = call.wrong()] {
        const int64_t n = out.sizes[1];
        for (int64_t i = 0; i < out.count(); ++i) {
          const float gate = in.at(i / n * 2 * n + i % n), up = in.at(i / n * 2 * n + n + i % n);
          out.put(i, wrong ? gate * up : gate / (1 + std::exp(-gate)) * up);
        }
        return 0;
      },
      workspace, executor);
}

int aclnnRotaryPositionEmbeddingGetWorkspaceSize(const AclTensor* x, const AclTensor* cos,
                                                 const AclTensor* sin, int64_t mode, AclTensor* y,
                                                 uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnRotaryPositionEmbedding");
  const Tensor in = call.tensor(x), out = call.tensor(y), c = call.tensor(cos);
  const Tensor s = call.tensor(sin);
  call.require(call.ok() && emulated::is_float(in) && in.dtype == out.dtype &&
               in.dtype == c.dtype && in.dtype == s.dtype && in.sizes.size() == 4 &&
               emulated::same_sizes(in, out) && out.is_contiguous() && in.data != out.data);
  call.require(call.ok() && in.sizes[3] % 2 == 0 && in.sizes[3] < 896 && in.sizes[2] < 1000 &&
               (mode == kRotateHalves || mode == kRotateNeighbours));
  call.require(call.ok() && emulated::same_sizes(c, s) &&
               c.sizes == std::vector<int64_t>{in.sizes[0], in.sizes[1], 1, in.sizes[3]});
  return call.make(
      [=, wrong = call.wrong()] {
        const int64_t n = in.sizes[3], heads = in.sizes[2];
        for (int64_t i = 0; i < in.count(); ++i) {
          const int64_t k = i % n, angle = i / n / heads * n + k;
          const bool first = mode == kRotateHalves ? k < n / 2 : k % 2 == 0;
          const int64_t step = mode == kRotateHalves ? n / 2 : 1;
          const float other = first != wrong ? -in.at(first ? i + step : i - step)
                                             : in.at(first ? i + step : i - step);
          out.put(i, in.at(i) * c.at(angle) + other * s.at(angle));
        }
        return 0;
      },
      workspace, executor);
}

// The second phases of all operators.
#define FERRY_EXECUTE(name, ...)                                                              \
  int aclnn##name(void* workspace, uint64_t bytes, AclExecutor* executor, AclStream stream) { \
    return emulated::execute("aclnn" #name, workspace, bytes, executor, stream);              \
  }
FERRY_ACLNN_SYMBOLS(FERRY_EXECUTE)
FERRY_ACLNN_OPTIONAL_SYMBOLS(FERRY_EXECUTE)

}  // extern "C"
