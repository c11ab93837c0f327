// Products on tensor cores against sums in double of operands rounded to bf16: within the error of
// f32 sums, so that a fragment read from the wrong lane, or a number that wasn't rounded, shows.
#include <cmath>
#include <vector>

#include "base/half.h"
#include "vendor/cuda/emulated_driver.h"

namespace ferry::cuda {
namespace {

constexpr double kSumError = 2e-6;  // of up to 300 terms in f32, relative to Σ |x · w|

struct ProductShape {
  int64_t tokens, rows, cols, experts;  // 0 experts: a plain product
};

// Weights are stored in bf16; where rows have a multiple of 8 numbers they are copied as they are.
class Products {
 public:
  explicit Products(const ProductShape& shape) : shape_(shape) {
    const int64_t matrices = std::max<int64_t>(shape.experts, 1);
    uint64_t state = 5;
    const auto next = [&state] {
      state = state * 6364136223846793005u + 1442695040888963407u;
      return static_cast<float>(static_cast<int64_t>(state >> 40) - (1 << 23)) * 0x1p-22f;
    };
    weights_.resize(static_cast<size_t>(matrices * shape.rows * shape.cols));
    for (uint16_t& bits : weights_) bits = f32_to_bf16(next());
    x_.resize(static_cast<size_t>(shape.tokens * shape.cols));
    for (float& value : x_) value = next();
  }

  // Token t belongs to expert t · experts / tokens, but the last of them gets none.
  int64_t expert_of(int64_t token) const {
    return shape_.experts < 2 ? 0 : token * (shape_.experts - 1) / shape_.tokens;
  }

  std::vector<float> multiply(Backend& backend) const {
    auto stream = backend.create_stream().value();
    const auto bytes = [](const auto& values) {
      return static_cast<int64_t>(values.size() * sizeof values[0]);
    };
    const Buffer x = backend.allocate(bytes(x_)).value();
    const Buffer out = backend.allocate(shape_.tokens * shape_.rows * 4).value();
    stream->copy_in(x.data, x_.data(), bytes(x_));
    const std::vector<Weight> weights = import(backend);
    const TensorView x_view =
        TensorView::contiguous(x.data, Dtype::kF32, {shape_.tokens, shape_.cols});
    const TensorView out_view =
        TensorView::contiguous(out.data, Dtype::kF32, {shape_.tokens, shape_.rows});
    Buffer offsets_memory;
    std::vector<int32_t> offsets(static_cast<size_t>(shape_.experts) + 1);
    if (shape_.experts == 0) {
      stream->matmul({.x = x_view, .w = weights[0].view, .bias = {}, .out = out_view});
    } else {
      for (int64_t t = 0; t < shape_.tokens; ++t) {
        for (int64_t e = expert_of(t) + 1; e <= shape_.experts; ++e) {
          offsets[static_cast<size_t>(e)] = static_cast<int32_t>(t) + 1;
        }
      }
      std::vector<WeightView> views;
      for (const Weight& weight : weights) views.push_back(weight.view);
      offsets_memory = backend.allocate(bytes(offsets)).value();
      stream->copy_in(offsets_memory.data, offsets.data(), bytes(offsets));
      const TensorView bounds =
          TensorView::contiguous(offsets_memory.data, Dtype::kI32, {shape_.experts + 1});
      stream->grouped_matmul(
          {.x = x_view, .expert_offsets = bounds, .experts = views, .out = out_view});
    }
    std::vector<float> result(static_cast<size_t>(shape_.tokens * shape_.rows));
    stream->copy_out(result.data(), out.data, bytes(result));
    EXPECT_TRUE(stream->synchronize().ok());
    return result;
  }

  void expect_sums_of_bf16(const std::vector<float>& got) const {
    for (int64_t t = 0; t < shape_.tokens; ++t) {
      for (int64_t n = 0; n < shape_.rows; ++n) {
        double sum = 0, magnitude = 0;
        for (int64_t k = 0; k < shape_.cols; ++k) {
          const auto at = static_cast<size_t>((expert_of(t) * shape_.rows + n) * shape_.cols + k);
          const float x = x_[static_cast<size_t>(t * shape_.cols + k)];
          const double term = static_cast<double>(bf16_to_f32(f32_to_bf16(x))) *
                              static_cast<double>(bf16_to_f32(weights_[at]));
          sum += term;
          magnitude += std::fabs(term);
        }
        const float value = got[static_cast<size_t>(t * shape_.rows + n)];
        ASSERT_NEAR(value, sum, kSumError * magnitude)
            << shape_.tokens << " tokens, " << shape_.experts << " experts: token " << t << " row "
            << n;
      }
    }
  }

 private:
  std::vector<Weight> import(Backend& backend) const {
    std::vector<Weight> all;
    const size_t bytes = static_cast<size_t>(shape_.rows * shape_.cols) * sizeof(uint16_t);
    const auto* data = reinterpret_cast<const uint8_t*>(weights_.data());
    for (size_t e = 0; e * bytes < weights_.size() * sizeof(uint16_t); ++e) {
      all.push_back(backend
                        .import_weight({.format = quant::find_format("BF16"),
                                        .data = {data + e * bytes, bytes},
                                        .rows = shape_.rows,
                                        .cols = shape_.cols})
                        .value());
    }
    return all;
  }

  ProductShape shape_;
  std::vector<uint16_t> weights_;
  std::vector<float> x_;
};

TEST(CudaTensorCores, MultiplyWhatIsRoundedToBf16) {
  use_driver("current");
  const auto backend = open_on_driver();
  ASSERT_NE(backend, nullptr);
  const ProductShape shapes[] = {
      {9, 33, 136, 0},    // narrow
      {31, 70, 300, 0},   // narrow; weights that can't be copied as they are
      {64, 32, 96, 0},    // narrow; fewer columns than a stage has
      {65, 130, 72, 0},   // wide
      {130, 257, 67, 0},  // wide; the same
      {90, 40, 64, 7},    // experts, few tokens of each
      {300, 40, 64, 3},   // many
  };
  for (const ProductShape& shape : shapes) {
    const Products products(shape);
    products.expect_sums_of_bf16(products.multiply(*backend));
  }
}

}  // namespace
}  // namespace ferry::cuda
