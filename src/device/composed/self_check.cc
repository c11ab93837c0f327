// A few numbers through every operation: see self_check.h.
#include "device/composed/self_check.h"

#include <cmath>
#include <iterator>
#include <limits>

namespace ferry::composed {
namespace {

using Floats = std::vector<float>;

class Checker {
 public:
  Checker(Primitives& primitives, const Precision& precision)
      : c_(primitives), precision_(precision) {}

  // False, and its name remembered, if the numbers aren't those that were expected. 2e-6 leaves
  // room for functions that are not exact; wrong constants are off by far more.
  bool same(Primitive which, const char* detail, const TensorView& x, const Floats& expected) {
    Floats got(expected.size());
    const TensorView dense = c_.dense(x);
    c_.copy_out(got.data(), dense.data, static_cast<int64_t>(got.size() * sizeof(float)));
    bool right = c_.synchronize().ok();
    for (size_t i = 0; right && i < got.size(); ++i) {
      right = got[i] == expected[i] || std::fabs(got[i] - expected[i]) <= 2e-6f;
    }
    if (!right && wrong_.empty()) wrong_ = std::string(c_.symbol_of(which)) + detail;
    return right;
  }
  const std::string& wrong() const { return wrong_; }

  TensorView f32(std::initializer_list<int64_t> dims) { return c_.scratch(Dtype::kF32, dims); }
  TensorView f32(Floats values, std::initializer_list<int64_t> dims) {
    return c_.upload(std::move(values), dims);
  }
  TensorView i32(std::vector<int32_t> values, std::initializer_list<int64_t> dims) {
    return c_.upload(std::move(values), dims);
  }

  void copies_and_casts() {
    const TensorView x = f32({1, 2, 3, 4, 5, 6}, {2, 3});
    same(Primitive::kCopy, "", strided(x.data, Dtype::kF32, {3, 2}, {1, 3}), {1, 4, 2, 5, 3, 6});
    // 1 + 2^-9 needs more bits than bf16 has and fewer than f16 has; 70000 is too large for f16.
    const TensorView y = f32({1.001953125f, -2.5f, 70000.0f}, {3});
    const TensorView f16 = c_.scratch(Dtype::kF16, {3}), bf16 = c_.scratch(Dtype::kBF16, {3});
    const TensorView back = f32({3});
    c_.cast(y, f16);
    c_.cast(f16, back);
    // Some chips end at the largest half instead of infinity.
    const TensorView two = strided(back.data, Dtype::kF32, {2}, {1});
    same(Primitive::kCast, " (f16)", two, {1.001953125f, -2.5f});
    if (precision_.narrow != Dtype::kBF16) return;  // the chip has none
    c_.cast(y, bf16);
    c_.cast(bf16, back);
    same(Primitive::kCast, " (bf16)", back, {1.0f, -2.5f, 70144.0f});
  }

  bool int8_cast() {
    // 1, −2, 127, −127 as bytes, low first.
    const TensorView word = i32({static_cast<int32_t>(0x817FFE01u)}, {1}), out = f32({4});
    c_.cast(TensorView::contiguous(word.data, Dtype::kI8, {4}), out);
    return same(Primitive::kCast, " (int8)", out, {1, -2, 127, -127});
  }

  // [2, 4] by three rows of int8 with scales of 1, 2 and 1/4, into rows that are longer.
  bool int8_matmul() {
    const TensorView a = c_.as(f32({1, 2, 3, 4, 1, 0, 0, -1}, {2, 4}), precision_.narrow);
    const TensorView bytes = i32({0x04030201, static_cast<int32_t>(0xFF01FF01u), 0x40000000}, {3});
    const TensorView b = TensorView::contiguous(bytes.data, Dtype::kI8, {3, 4});
    const TensorView scales = c_.as(f32({1, 2, 0.25f}, {3}), precision_.narrow);
    const TensorView out = f32(Floats(8, -1.0f), {2, 4});
    c_.int8_matmul(a, b, scales, strided(out.data, Dtype::kF32, {2, 3}, {4, 1}));
    return same(Primitive::kInt8Matmul, "", out, {30, -4, 64, -1, -3, 4, -16, -1});
  }

  void elementwise() {
    const TensorView a = f32({1, 2, 3, 4}, {2, 2}), b = f32({10, 20}, {1, 2}), out = f32({2, 2});
    c_.binary(BinaryOp::kAdd, a, b, out);
    same(Primitive::kBinary, " (add)", out, {11, 22, 13, 24});
    c_.binary(BinaryOp::kSub, a, b, out);
    same(Primitive::kBinary, " (sub)", out, {-9, -18, -7, -16});
    c_.binary(BinaryOp::kMul, a, b, out);
    same(Primitive::kBinary, " (mul)", out, {10, 40, 30, 80});
    c_.affine(a, 3, 0.5f, out);
    same(Primitive::kAffine, "", out, {3.5f, 6.5f, 9.5f, 12.5f});
    const TensorView x = f32({-2, 0, 1, 3}, {4}), y = f32({4});
    c_.activation(Activation::kSigmoid, x, y);
    same(Primitive::kActivation, " (sigmoid)", y, {0.1192029f, 0.5f, 0.7310586f, 0.9525741f});
    c_.activation(Activation::kRelu, x, y);
    same(Primitive::kActivation, " (relu)", y, {0, 0, 1, 3});
    const float lost = -std::numeric_limits<float>::infinity();
    const TensorView rows = f32({0, 0, lost, 1, 2, 3}, {2, 3});
    c_.softmax(rows, rows);
    same(Primitive::kSoftmax, "", rows, {0.5f, 0.5f, 0, 0.09003057f, 0.2447285f, 0.6652409f});
  }

  // [2, 2, 3] by two matrices that lie turned around, into rows that are longer.
  void products() {
    const TensorView a = f32({1, 2, 3, 4, 5, 6, 1, 0, 0, 0, 1, 0}, {2, 2, 3});
    const TensorView b = f32({1, 0, 1, 0, 1, 1, 7, 8, 9, 10, 11, 12}, {2, 2, 3});
    const TensorView out = f32(Floats(16, -1.0f), {2, 2, 4});
    c_.matmul(a, strided(b.data, Dtype::kF32, {2, 3, 2}, {6, 1, 3}),
              strided(out.data, Dtype::kF32, {2, 2, 2}, {8, 4, 1}));
    same(Primitive::kMatmul, " (f32)", out,
         {4, 5, -1, -1, 10, 11, -1, -1, 7, 10, -1, -1, 8, 11, -1, -1});
    // TF32 would lose the last bits of these.
    const TensorView fine = f32({1.0001221f, 1}, {1, 1, 2}), ones = f32({1, 1}, {1, 2, 1});
    const TensorView sum = f32({1, 1, 1});
    c_.matmul(fine, ones, sum);
    if (precision_.exact_f32) same(Primitive::kMatmul, " (full f32)", sum, {2.0001221f});
    // 4097 has more bits than f16 and bf16, and must keep them where the result is f32.
    const TensorView p = c_.as(f32({256, 1}, {1, 1, 2}), precision_.narrow);
    const TensorView q = c_.as(f32({16, 1}, {1, 2, 1}), precision_.narrow);
    c_.matmul(p, q, sum);
    same(Primitive::kMatmul, " (16 bits)", sum, {precision_.wide_result ? 4097.0f : 4096.0f});
  }

  void rows() {
    const TensorView table = f32({0, 1, 10, 11, 20, 21}, {3, 2}), out = f32({2, 2});
    const TensorView index = i32({2, 0}, {2});
    c_.select_rows(table, index, out);
    same(Primitive::kSelectRows, "", out, {20, 21, 0, 1});
    c_.write_rows(f32({5, 6, 7, 8}, {2, 2}), index, table);
    same(Primitive::kWriteRows, "", table, {7, 8, 10, 11, 5, 6});
  }

  bool rms_norm() {
    const TensorView x = f32({3, 4, 0, 0}, {1, 4}), weight = f32({1, 2, 1, 1}, {4});
    const TensorView residual = f32({1, -1, 0, 4}, {1, 4});
    const TensorView out = f32({1, 4}), sum = f32({1, 4});
    c_.rms_norm(x, weight, 0, nullptr, nullptr, out);
    if (!same(Primitive::kRmsNorm, "", out, {1.2f, 3.2f, 0, 0})) return false;
    c_.rms_norm(x, weight, 0, &residual, &sum, out);
    return same(Primitive::kRmsNorm, "", sum, {4, 3, 0, 4}) &&
           same(Primitive::kRmsNorm, "", out, {1.2493901f, 1.8740851f, 0, 1.2493901f});
  }

  // One pair of two tokens, turned by a right angle and not at all; as neighbours and as halves.
  bool rope() {
    const TensorView x = f32({1, 2, 3, 4, 5, 6, 7, 8}, {2, 1, 4}), out = f32({2, 1, 4});
    const TensorView cosines = f32({0, 0, 0, 0, 1, 1, 1, 1}, {2, 4});
    const TensorView sines = f32({1, 1, 1, 1, 0, 0, 0, 0}, {2, 4});
    c_.rope(x, cosines, sines, true, out);
    if (!same(Primitive::kRope, "", out, {-2, 1, -4, 3, 5, 6, 7, 8})) return false;
    c_.rope(x, cosines, sines, false, out);
    return same(Primitive::kRope, "", out, {-3, -4, 1, 2, 5, 6, 7, 8});
  }

  bool swiglu() {
    const TensorView out = f32({2, 2});
    c_.swiglu(f32({0, 1, 5, 6, 3, -2, 1, 2}, {2, 4}), out);
    return same(Primitive::kSwiglu, "", out, {0, 4.3863516f, 2.8577224f, -0.4768117f});
  }

  bool layer_norm() {
    const TensorView x = f32({1, 3}, {1, 2}), scale = f32({1, 2}, {2}), shift = f32({5, 6}, {2});
    const TensorView out = f32({1, 2});
    c_.layer_norm(x, scale, shift, 0, out);
    return same(Primitive::kLayerNorm, "", out, {4, 8});
  }

  bool gate() {
    const TensorView x = f32({1, 5, 5, 2}, {1, 4}), values = f32({1, 3});
    const TensorView which = c_.scratch(Dtype::kI32, {1, 3});
    c_.top_k(x, 3, values, which);
    if (!same(Primitive::kTopK, "", values, {5, 5, 2})) return false;
    if (c_.read_back(which) != std::vector<int32_t>{1, 2, 3}) return false;
    c_.gather(f32({10, 20, 30, 40}, {1, 4}), i32({3, 0, 2}, {1, 3}), values);
    if (!same(Primitive::kGather, "", values, {40, 10, 30})) return false;
    const TensorView base = f32({9, 9, 9, 9}, {1, 4}), quotient = f32({1, 3});
    c_.scatter(f32({1, 2}, {1, 2}), i32({2, 0}, {1, 2}), base);
    c_.divide(values, f32({4}, {1, 1}), quotient);
    return same(Primitive::kScatter, "", base, {2, 9, 1, 9}) &&
           same(Primitive::kDivide, "", quotient, {10, 2.5f, 7.5f});
  }

 private:
  Primitives& c_;
  const Precision precision_;
  std::string wrong_;
};

}  // namespace

Status check_primitives(const CreatePrimitives& create, std::string_view backend,
                        std::string_view release, const Precision& precision,
                        ComposedPaths& paths) {
  FERRY_TRY(const auto primitives, create());
  Checker checker(*primitives, precision);
  if (primitives->begin("self check")) {
    checker.copies_and_casts();
    checker.elementwise();
    checker.products();
    checker.rows();
  }
  FERRY_TRY_VOID(primitives->synchronize());
  if (!checker.wrong().empty()) {
    return device_error(
        "{}: {} of {} gives other results than expected: ferry doesn't know this release", backend,
        checker.wrong(), release);
  }
  // A queue for each of the rest, as one that refuses to run an operation is of no more use.
  bool* const optional[] = {&paths.rms_norm, &paths.layer_norm,   &paths.device_gate, &paths.rope,
                            &paths.swiglu,   &paths.int8_weights, &paths.int8_matmul};
  bool (Checker::*const checks[])() = {
      &Checker::rms_norm, &Checker::layer_norm, &Checker::gate,       &Checker::rope,
      &Checker::swiglu,   &Checker::int8_cast,  &Checker::int8_matmul};
  for (size_t i = 0; i < std::size(checks); ++i) {
    if (!*optional[i]) continue;
    FERRY_TRY(const auto own, create());
    Checker tried(*own, precision);
    *optional[i] = own->begin("self check") && (tried.*checks[i])();
  }
  return {};
}

}  // namespace ferry::composed
