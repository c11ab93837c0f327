// Products with weights of every format at every level: right, and the same bits for a row alone
// or among others, on one thread or three.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "backends/cpu/testing.h"
#include "device/workspace.h"

namespace ferry::cpu {
namespace {

class MatmulTest : public ::testing::TestWithParam<Level> {};
INSTANTIATE_TEST_SUITE_P(Levels, MatmulTest, ::testing::ValuesIn(available_levels()),
                         level_of_test);

class Bf16MatmulTest : public ::testing::TestWithParam<Machine> {};
INSTANTIATE_TEST_SUITE_P(Levels, Bf16MatmulTest, ::testing::ValuesIn(machines()), machine_of_test);

std::vector<float> run_matmul(TestDevice& device, const WeightView& w, std::vector<float> x,
                              std::vector<float>* bias) {
  const int64_t tokens = static_cast<int64_t>(x.size()) / w.cols;
  std::vector<float> out(static_cast<size_t>(tokens * w.rows), 99.0f);
  device.stream->matmul({.x = view_of(x, {tokens, w.cols}),
                         .w = w,
                         .bias = bias == nullptr ? TensorView{} : view_of(*bias, {w.rows}),
                         .out = view_of(out, {tokens, w.rows})});
  EXPECT_TRUE(device.stream->synchronize().ok());
  return out;
}

// Where activations are rounded to int8, each may be off by half a step of its group's scale.
double matmul_rounding_of(const quant::StorageFormat& format, Level level) {
  const IntKernels* kernels = select_int_kernels(level, read_cpu_features());
  for (int i = 0; kernels != nullptr && i < kernels->num_formats; ++i) {
    if (format.name == kernels->formats[i].format) return 1.0 / 254;
  }
  return 0;
}

// Some elements of out = x Wᵀ + bias against sums in double.
void expect_sums(const std::vector<float>& out, const WeightView& w, const std::vector<float>& x,
                 const std::vector<float>& bias, double tolerance, int64_t row_step,
                 int64_t token_step) {
  const int64_t tokens = static_cast<int64_t>(x.size()) / w.cols;
  for (int64_t n = 0; n < w.rows; n += row_step) {
    const std::vector<float> row = decoded_row(w, n);
    for (int64_t t = 0; t < tokens; t += token_step) {
      double sum = bias[n], magnitude = 1e-6;
      for (int64_t i = 0; i < w.cols; ++i) {
        sum += double{row[i]} * x[t * w.cols + i];
        magnitude += std::fabs(double{row[i]} * x[t * w.cols + i]);
      }
      ASSERT_NEAR(out[t * w.rows + n], sum, tolerance * magnitude) << n << ", " << t;
    }
  }
}

// One to a few rows, whole and ragged tiles, more than a token block; every format; alone and
// together; 1, 2 and 3 threads.
TEST_P(MatmulTest, EveryFormatRightAndInvariant) {
  TestDevice one = open_cpu(GetParam(), 1), two = open_cpu(GetParam(), 2),
             three = open_cpu(GetParam(), 3);
  for (const quant::StorageFormat* format : quant::all_formats()) {
    if (format->decode == nullptr || format->encode == nullptr) continue;
    SCOPED_TRACE(format->name);
    const bool plain = format->block_elements == 1;
    for (int64_t cols :
         {plain ? int64_t{37} : format->block_elements, int64_t{768}, int64_t{1280}}) {
      const int64_t rows = 77;
      const int64_t tokens = 103;
      const TestWeight w(*one.backend, *format, rows, cols, 3, plain ? 32 : 0);
      std::vector<float> bias = random_floats(rows, 4);
      const std::vector<float> x = random_floats(tokens * cols, 5);
      const double tolerance = 1e-6 + matmul_rounding_of(*format, GetParam());
      const std::vector<float> all = run_matmul(one, w.weight.view, x, &bias);
      expect_sums(all, w.weight.view, x, bias, tolerance, 5, 9);
      EXPECT_EQ(run_matmul(two, w.weight.view, x, &bias), all);
      EXPECT_EQ(run_matmul(three, w.weight.view, x, &bias), all);
      for (int64_t count : {1, 2, 3, 4, 5, 6, 7, 11, 40}) {
        const int64_t first = tokens - count - 1;
        const std::vector<float> some(x.begin() + first * cols, x.begin() + (first + count) * cols);
        const std::vector<float> expected(all.begin() + first * rows,
                                          all.begin() + (first + count) * rows);
        ASSERT_EQ(run_matmul(two, w.weight.view, some, &bias), expected) << count;
      }
    }
  }
}

// On tiles or not, bf16 weights are multiplied as precisely as in f32, and a token alone like many.
TEST_P(Bf16MatmulTest, AsInF32AndInvariant) {
  TestDevice one = GetParam().open(1), three = GetParam().open(3);
  const auto* format = quant::find_format("BF16");
  const int64_t rows = 77, tokens = 103;
  for (int64_t cols : {37, 38, 512, 770, 1280}) {
    const TestWeight w(*one.backend, *format, rows, cols, 3);
    std::vector<float> bias = random_floats(rows, 4);
    std::vector<float> x = random_floats(tokens * cols, 5);
    x[7] = 1e30f, x[8] = 1e-30f;  // of the first token
    const std::vector<float> all = run_matmul(three, w.weight.view, x, &bias);
    expect_sums(all, w.weight.view, x, bias, 1e-6, 3, 6);
    for (int64_t count : {1, 2, 3, 4, 5, 17, 33}) {
      const int64_t first = count % 7;
      const std::vector<float> some(x.begin() + first * cols, x.begin() + (first + count) * cols);
      const std::vector<float> expected(all.begin() + first * rows,
                                        all.begin() + (first + count) * rows);
      ASSERT_EQ(run_matmul(one, w.weight.view, some, &bias), expected) << cols << ", " << count;
    }
    x[3 * cols + 5] = std::numeric_limits<float>::infinity();
    const std::vector<float> infinite = run_matmul(one, w.weight.view, x, &bias);
    for (int64_t i = 0; i < tokens * rows; ++i) {
      if (i / rows == 3) {
        ASSERT_FALSE(std::isfinite(infinite[i])) << i;
      } else {
        ASSERT_EQ(infinite[i], all[i]) << i;
      }
    }
  }
}

// U and Uᵀ of heads that are rows of one matrix, as kv_b_proj has them.
TEST_P(MatmulTest, PerHeadBothWaysAndInvariant) {
  TestDevice device = open_cpu(GetParam(), 2), one = open_cpu(GetParam(), 1);
  const int64_t heads = 5, rows = 48, cols = 96, stride = 80, tokens = 13;
  for (const char* name : {"F32", "BF16", "Q8_0", "F8_E4M3"}) {
    const auto* format = quant::find_format(name);
    const TestWeight w(*device.backend, *format, heads * stride, cols, 8,
                       format->block_elements == 1 ? 32 : 0);
    const double tolerance = matmul_rounding_of(*format, GetParam()) == 0 ? 1e-4 : 0.05;
    for (bool transposed : {false, true}) {
      for (bool apply_transposed : {false, true}) {
        const HeadMatrixView u{.weight = w.weight.view,
                               .num_heads = heads,
                               .rows = rows,
                               .cols = cols,
                               .first_row = 7,
                               .head_stride = stride,
                               .transposed = transposed};
        const bool by_rows = transposed == apply_transposed;
        const int64_t in = by_rows ? cols : rows, outs = by_rows ? rows : cols;
        std::vector<float> x = random_floats(tokens * heads * in, 9);
        std::vector<float> out(static_cast<size_t>(tokens * heads * outs)), alone(out.size());
        device.stream->per_head_matmul({.x = view_of(x, {tokens, heads, in}),
                                        .u = u,
                                        .apply_transposed = apply_transposed,
                                        .out = view_of(out, {tokens, heads, outs})});
        for (int64_t t = 0; t < tokens; ++t) {
          one.stream->per_head_matmul(
              {.x = view_of(x, {tokens, heads, in}).slice(0, t, 1),
               .u = u,
               .apply_transposed = apply_transposed,
               .out = view_of(alone, {tokens, heads, outs}).slice(0, t, 1)});
        }
        EXPECT_EQ(out, alone);
        for (int64_t h = 0; h < heads; ++h) {
          for (int64_t o = 0; o < outs; o += 7) {
            double sum = 0;
            for (int64_t i = 0; i < in; ++i) {
              const auto row = decoded_row(u.weight, u.first_row + h * stride + (by_rows ? o : i));
              sum += double{row[by_rows ? i : o]} * x[(3 * heads + h) * in + i];
            }
            ASSERT_NEAR(out[(3 * heads + h) * outs + o], sum, tolerance);
          }
        }
      }
    }
  }
}

// The fused experts have the bits of the composite, and a token those it has alone.
TEST_P(MatmulTest, FusedExpertsAreTheComposite) {
  TestDevice device = open_cpu(GetParam(), 3);
  const int64_t experts = 9, hidden = 64, width = 96, tokens = 21, top_k = 3;
  const auto* format = quant::find_format("Q8_0");
  std::vector<std::unique_ptr<TestWeight>> weights;
  std::vector<WeightView> gate, up, down;
  for (uint32_t e = 0; e < experts; ++e) {
    for (auto* list : {&gate, &up, &down}) {
      const bool is_down = list == &down;
      weights.push_back(std::make_unique<TestWeight>(
          *device.backend, *format, is_down ? hidden : width, is_down ? width : hidden, 100 + e));
      list->push_back(weights.back()->weight.view);
    }
  }
  std::vector<float> x = random_floats(tokens * hidden, 1), mix = random_floats(tokens * top_k, 2);
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < tokens; ++t) {  // expert 8 gets nothing
    for (int64_t j = 0; j < top_k; ++j) ids.push_back(static_cast<int32_t>((t * t + j * 3) % 8));
  }
  std::vector<float> fused(x.size()), composite(x.size()), alone(x.size());
  std::vector<char> memory(1 << 20);
  auto run = [&](int64_t first, int64_t count, std::vector<float>& out, bool use_composite) {
    Workspace workspace(memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64),
                        static_cast<int64_t>(memory.size()) - 64);
    const MoeExpertsArgs args{.x = view_of(x, {tokens, hidden}).slice(0, first, count),
                              .ids = view_of(ids, {tokens, top_k}).slice(0, first, count),
                              .weights = view_of(mix, {tokens, top_k}).slice(0, first, count),
                              .gate = gate,
                              .up = up,
                              .down = down,
                              .workspace = &workspace,
                              .out = view_of(out, {tokens, hidden}).slice(0, first, count)};
    use_composite ? device.stream->Stream::moe_experts(args) : device.stream->moe_experts(args);
  };
  run(0, tokens, fused, false);
  run(0, tokens, composite, true);
  for (int64_t t = 0; t < tokens; ++t) run(t, 1, alone, false);
  EXPECT_EQ(fused, composite);
  EXPECT_EQ(fused, alone);
}

// Formats that round activations and one that does not, biases, a second x: the bits of products
// computed one by one, on every level and any number of threads.
TEST_P(MatmulTest, ProductsOfOneJobHaveTheBitsOfTheirOwn) {
  TestDevice one = open_cpu(GetParam(), 1), three = open_cpu(GetParam(), 3);
  const int64_t cols = 512;
  const std::pair<const char*, int64_t> shapes[] = {
      {"Q4_0", 96}, {"Q8_0", 33}, {"F32", 7}, {"Q4_0", 300}};
  std::vector<std::unique_ptr<TestWeight>> weights;
  for (const auto& [format, rows] : shapes) {
    weights.push_back(std::make_unique<TestWeight>(*one.backend, *quant::find_format(format), rows,
                                                   cols, 3 + static_cast<uint32_t>(rows)));
  }
  for (int64_t tokens : {0, 1, 5, 103}) {
    std::vector<float> x = random_floats(tokens * cols, 5), other = random_floats(tokens * cols, 6);
    std::vector<float> bias = random_floats(33, 7);
    for (TestDevice* device : {&one, &three}) {
      std::vector<std::vector<float>> outs;
      for (const auto& [format, rows] : shapes) outs.emplace_back(tokens * rows, 99.0f);
      std::vector<MatmulArgs> products;
      for (size_t i = 0; i < outs.size(); ++i) {
        const WeightView& w = weights[i]->weight.view;
        products.push_back({.x = view_of(i == 3 ? other : x, {tokens, cols}),
                            .w = w,
                            .bias = i == 1 ? view_of(bias, {w.rows}) : TensorView{},
                            .out = view_of(outs[i], {tokens, w.rows})});
      }
      device->stream->matmuls(products);
      ASSERT_TRUE(device->stream->synchronize().ok());
      for (size_t i = 0; i < outs.size() && tokens > 0; ++i) {
        EXPECT_EQ(outs[i], run_matmul(one, weights[i]->weight.view, i == 3 ? other : x,
                                      i == 1 ? &bias : nullptr))
            << i << ", " << tokens << " tokens";
      }
    }
  }
}

}  // namespace
}  // namespace ferry::cpu
