// The integer matmuls of every level: every format against the products of the rounded activations
// with its decoded weights, any tile against any other, and the levels against each other.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "backends/cpu/testing.h"

namespace ferry::cpu {
namespace {

struct PlainRow {
  std::vector<float> q_scale;  // per quant group of activations
  std::vector<int8_t> q;
};

PlainRow quantize_plain(const float* x, int64_t cols) {
  PlainRow row;
  for (int64_t g = 0; g < cols; g += kQuantGroup) {
    float most = 0;
    for (int64_t i = 0; i < kQuantGroup; ++i) most = std::max(most, std::fabs(x[g + i]));
    row.q_scale.push_back(most / 127.0f);
    const float factor = most > 1e-36f ? 127.0f / most : 0.0f;
    for (int64_t i = 0; i < kQuantGroup; ++i) {
      row.q.push_back(static_cast<int8_t>(std::nearbyint(x[g + i] * factor)));
    }
  }
  return row;
}

class IntMatmulTest : public testing::TestWithParam<Level> {
 protected:
  const IntKernels* kernels = select_int_kernels(GetParam(), read_cpu_features());
};
std::vector<Level> levels_with_int_kernels() {
  std::vector<Level> levels;
  for (Level level : available_levels()) {
    if (select_int_kernels(level, read_cpu_features()) != nullptr) levels.push_back(level);
  }
  return levels;
}
INSTANTIATE_TEST_SUITE_P(Levels, IntMatmulTest, testing::ValuesIn(levels_with_int_kernels()),
                         level_of_test);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(IntMatmulTest);

std::vector<uint8_t> quantize_rows(const IntKernels& kernels, const std::vector<float>& x,
                                   int64_t cols) {
  const int64_t rows = static_cast<int64_t>(x.size()) / cols, bytes = quant_row_bytes(cols);
  std::vector<uint8_t> data(static_cast<size_t>(rows * bytes));
  for (int64_t r = 0; r < rows; ++r) {
    kernels.quantize_row(x.data() + r * cols, cols, data.data() + r * bytes);
  }
  return data;
}

TEST_P(IntMatmulTest, ActivationsAreRoundedToTheNearest) {
  for (int64_t cols : {32, 96, 1408}) {
    std::vector<float> x = random_floats(cols, 1);
    x[5] = 40;
    for (int64_t i = 32; i < std::min<int64_t>(cols, 64); ++i) x[i] = 0;
    const auto data = quantize_rows(*kernels, x, cols);
    const QuantRow row = quant_row_at(data.data(), cols);
    const PlainRow plain = quantize_plain(x.data(), cols);
    EXPECT_EQ(std::memcmp(row.q, plain.q.data(), static_cast<size_t>(cols)), 0);
    for (int64_t g = 0; g < cols / kQuantGroup; ++g) {
      EXPECT_EQ(row.scale[g], plain.q_scale[g]) << g;
      int first = 0, second = 0;
      for (int i = 0; i < 16; ++i) first += plain.q[32 * g + i];
      for (int i = 16; i < 32; ++i) second += plain.q[32 * g + i];
      EXPECT_EQ(row.half_sum[2 * g], first);
      EXPECT_EQ(row.half_sum[2 * g + 1], second);
      EXPECT_EQ(row.sum[g], first + second);
    }
  }
}

TEST_P(IntMatmulTest, NothingHidesNanAndInfinity) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                    -std::numeric_limits<float>::infinity()}) {
    for (int64_t place : {32, 47, 63}) {
      std::vector<float> x = random_floats(96, 1);
      x[place] = bad;
      const auto data = quantize_rows(*kernels, x, 96);
      const QuantRow row = quant_row_at(data.data(), 96);
      EXPECT_TRUE(std::isnan(row.scale[1]));
      EXPECT_FALSE(std::isnan(row.scale[0]) || std::isnan(row.scale[2]));
    }
  }
  const std::vector<float> tiny(32, 1e-40f);  // 127 / x would be infinite
  const auto data = quantize_rows(*kernels, tiny, 32);
  EXPECT_EQ(quant_row_at(data.data(), 32).scale[0], 0.0f);
}

// What is left of an error is the rounding of f32 sums: the integers are exact.
TEST_P(IntMatmulTest, EveryFormatRightAndInvariant) {
  for (int f = 0; f < kernels->num_formats; ++f) {
    const IntFormat& entry = kernels->formats[f];
    const auto* format = quant::find_format(entry.format);
    ASSERT_NE(format, nullptr) << entry.format;
    SCOPED_TRACE(entry.format);
    for (int64_t cols : {format->block_elements, int64_t{768}, int64_t{2304}}) {
      const int64_t rows = kMaxBlockRows - 3, tokens = 23;
      const TestDevice device = open_cpu(GetParam(), 1);
      const TestWeight w(*device.backend, *format, rows, cols, 3);
      const std::vector<float> x = random_floats(tokens * cols, 5), bias = random_floats(rows, 6);
      const auto data = quantize_rows(*kernels, x, cols);
      std::vector<QuantRow> x_rows;
      for (int64_t t = 0; t < tokens; ++t) {
        x_rows.push_back(quant_row_at(data.data() + t * quant_row_bytes(cols), cols));
      }
      std::vector<float> out(static_cast<size_t>(tokens * rows)), alone(out.size());
      std::vector<float> memory(static_cast<size_t>(kIntScratchFloats) + 16);
      float* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) / 4;
      auto run = [&](int64_t first_row, int64_t num_rows, int64_t first, int64_t count,
                     std::vector<float>& into) {
        entry.matmul_block({.data = static_cast<const uint8_t*>(w.weight.view.data) +
                                    first_row * w.weight.view.row_bytes,
                            .row_bytes = w.weight.view.row_bytes,
                            .cols = cols,
                            .rows = num_rows,
                            .x = x_rows.data() + first,
                            .tokens = count,
                            .bias = bias.data() + first_row,
                            .out = into.data() + first * rows + first_row,
                            .out_stride = rows,
                            .scratch = scratch});
      };
      run(0, rows, 0, tokens, out);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t n = 0; n < rows; n += 5) {
          run(n, std::min<int64_t>(5, rows - n), t, 1, alone);
        }
      }
      EXPECT_EQ(out, alone);
      for (int64_t n = 0; n < rows; ++n) {
        const std::vector<float> row = decoded_row(w.weight.view, n);
        for (int64_t t = 0; t < tokens; ++t) {
          double sum = bias[n], magnitude = 1e-6;
          for (int64_t i = 0; i < cols; ++i) {
            const double value = double{x_rows[t].scale[i / kQuantGroup]} * x_rows[t].q[i] * row[i];
            sum += value;
            magnitude += std::fabs(value);
          }
          ASSERT_NEAR(out[t * rows + n], sum, 2e-6 * magnitude) << n << ", " << t;
        }
      }
    }
  }
}

// The levels agree with each other to the bit.
TEST(IntMatmul, SameBitsAtEveryLevel) {
  const auto levels = levels_with_int_kernels();
  for (const quant::StorageFormat* format : quant::all_formats()) {
    if (format->decode == nullptr || format->encode == nullptr) continue;
    const int64_t rows = 40, cols = 768, tokens = 9;
    std::vector<float> first;
    for (Level level : levels) {
      TestDevice device = open_cpu(level, 1);
      const TestWeight w(*device.backend, *format, rows, cols, 3);
      const IntKernels* kernels = select_int_kernels(level, read_cpu_features());
      bool listed = false;
      for (int i = 0; i < kernels->num_formats; ++i) {
        listed |= format->name == kernels->formats[i].format;
      }
      if (!listed) continue;
      std::vector<float> x = random_floats(tokens * cols, 5), out(tokens * rows);
      device.stream->matmul({.x = view_of(x, {tokens, cols}),
                             .w = w.weight.view,
                             .out = view_of(out, {tokens, rows})});
      if (first.empty()) first = out;
      EXPECT_EQ(out, first) << format->name << " " << level_name(level);
    }
  }
}

}  // namespace
}  // namespace ferry::cpu
