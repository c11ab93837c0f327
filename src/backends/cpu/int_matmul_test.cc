// The integer matmuls of every level: every format against the products of the rounded activations
// with its decoded weights, any tile against any other, and the levels against each other.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string_view>

#include "backends/cpu/testing.h"
#include "device/workspace.h"

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

class IntMatmulTest : public ::testing::TestWithParam<const IntKernels*> {
 protected:
  const IntKernels* kernels = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Levels, IntMatmulTest, ::testing::ValuesIn(all_int_kernels()),
                         [](const auto& test) { return std::string(test.param->name); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(IntMatmulTest);

// [tokens, w.rows] of all rows of x [tokens, w.cols]. REQUIRES: a block of both
std::vector<float> run_all(const IntKernels& kernels, const IntFormat& format, const WeightView& w,
                           const std::vector<float>& x) {
  const auto tokens = static_cast<int64_t>(x.size()) / w.cols;
  const auto data = quantize_rows(kernels, x, w.cols);
  std::vector<float> out(static_cast<size_t>(tokens * w.rows));
  run_int_block(format.matmul_block, {.data = static_cast<const uint8_t*>(w.data),
                                      .row_bytes = w.row_bytes,
                                      .cols = w.cols,
                                      .rows = w.rows,
                                      .x = data.data(),
                                      .tokens = tokens,
                                      .out = out.data(),
                                      .out_stride = w.rows});
  return out;
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
      EXPECT_EQ(row.negative_half_sum[2 * g], -first);
      EXPECT_EQ(row.negative_half_sum[2 * g + 1], -second);
      EXPECT_EQ(row.negative_sum[g], -(first + second));
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
      const TestDevice device = open_device("cpu");
      const TestWeight w(*device.backend, *format, rows, cols, 3);
      const std::vector<float> x = random_floats(tokens * cols, 5), bias = random_floats(rows, 6);
      const auto data = quantize_rows(*kernels, x, cols);
      std::vector<QuantRow> x_rows;
      for (int64_t t = 0; t < tokens; ++t) {
        x_rows.push_back(quant_row_at(data.data() + t * quant_row_bytes(cols), cols));
      }
      std::vector<float> out(static_cast<size_t>(tokens * rows)), alone(out.size());
      auto run = [&](int64_t first_row, int64_t num_rows, int64_t first, int64_t count,
                     std::vector<float>& into) {
        run_int_block(entry.matmul_block, {.data = static_cast<const uint8_t*>(w.weight.view.data) +
                                                   first_row * w.weight.view.row_bytes,
                                           .row_bytes = w.weight.view.row_bytes,
                                           .cols = cols,
                                           .rows = num_rows,
                                           .x = data.data() + first * quant_row_bytes(cols),
                                           .tokens = count,
                                           .bias = bias.data() + first_row,
                                           .out = into.data() + first * rows + first_row,
                                           .out_stride = rows});
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

// All tables agree with each other to the bit, whether a block is whole tiles of tokens or not.
TEST(IntMatmul, SameBitsInEveryTable) {
  const auto tables = all_int_kernels();
  for (int f = 0; !tables.empty() && f < tables[0]->num_formats; ++f) {
    const auto* format = quant::find_format(tables[0]->formats[f].format);
    ASSERT_NE(format, nullptr);
    for (int64_t tokens : {1, 2, 3, 4, 7, 16, 33, 96}) {
      const int64_t rows = 31, cols = 1280;
      const TestDevice device = open_device("cpu");
      const TestWeight w(*device.backend, *format, rows, cols, 3);
      const std::vector<float> x = random_floats(tokens * cols, 5);
      std::vector<float> first;
      for (const IntKernels* table : tables) {
        ASSERT_EQ(table->num_formats, tables[0]->num_formats);
        ASSERT_STREQ(table->formats[f].format, tables[0]->formats[f].format);
        const std::vector<float> out = run_all(*table, table->formats[f], w.weight.view, x);
        if (first.empty()) first = out;
        EXPECT_EQ(out, first) << format->name << " " << table->name << " " << tokens;
      }
    }
  }
}

// FNV-1a of what 7 tokens give, as words: the same on every processor. Every format has a value.
TEST_P(IntMatmulTest, SameBitsOnEveryProcessor) {
  const std::map<std::string_view, uint32_t> expected{
      {"Q4_0", 0x1aad3f66},  {"Q4_1", 0x8c05ee80},    {"Q5_0", 0x1901b49f},
      {"Q5_1", 0xa2b82abd},  {"Q8_0", 0xbcb8e680},    {"Q2_K", 0x1f2993c0},
      {"Q3_K", 0xca86653f},  {"Q4_K", 0x47a8b580},    {"Q5_K", 0xb713ad28},
      {"Q6_K", 0x2f80a8f2},  {"IQ4_NL", 0xc7934fbc},  {"IQ4_XS", 0x6881590d},
      {"MXFP4", 0x20eaf84d}, {"IQ2_XXS", 0xc351de02}, {"IQ3_XXS", 0x63acb8e6}};
  for (int f = 0; f < kernels->num_formats; ++f) {
    const auto* format = quant::find_format(kernels->formats[f].format);
    ASSERT_NE(format, nullptr);
    const int64_t rows = 13, cols = 1280, tokens = 7;
    const TestDevice device = open_device("cpu");
    const TestWeight w(*device.backend, *format, rows, cols, 3);
    const std::vector<float> out =
        run_all(*kernels, kernels->formats[f], w.weight.view, random_floats(tokens * cols, 5));
    uint32_t hash = 0x811c9dc5;
    for (const float value : out) hash = (hash ^ std::bit_cast<uint32_t>(value)) * 0x01000193;
    const auto known = expected.find(format->name);
    ASSERT_NE(known, expected.end()) << format->name;
    EXPECT_EQ(hash, known->second) << format->name;
  }
}

// Experts read rows of a shared x in the order of an index, which are laid out anew for them.
void expect_experts_read_their_rows(const TestDevice& device, const char* name) {
  const auto* format = quant::find_format(name);
  const int64_t experts = 5, tokens = 9, hidden = 64, width = 96, top_k = 2;
  std::vector<std::unique_ptr<TestWeight>> weights;
  std::vector<WeightView> gate, up, down;
  for (int64_t e = 0; e < experts; ++e) {
    for (auto* list : {&gate, &up, &down}) {
      const bool is_down = list == &down;
      weights.push_back(std::make_unique<TestWeight>(
          *device.backend, *format, is_down ? hidden : width, is_down ? width : hidden,
          static_cast<uint32_t>(10 + weights.size())));
      list->push_back(weights.back()->weight.view);
    }
  }
  std::vector<float> x = random_floats(tokens * hidden, 1), w = random_floats(tokens * top_k, 2);
  std::vector<int32_t> ids;
  for (int32_t t = 0; t < tokens; ++t) {
    ids.push_back((3 * t) % 5);
    ids.push_back((3 * t + 2) % 5);
  }
  std::vector<char> memory(1 << 20);
  Workspace workspace(memory.data(), static_cast<int64_t>(memory.size()));
  auto run = [&](int64_t first, int64_t count, std::vector<float>& out) {
    std::vector<float> rows(x.begin() + first * hidden, x.begin() + (first + count) * hidden);
    std::vector<float> weight(w.begin() + first * top_k, w.begin() + (first + count) * top_k);
    std::vector<int32_t> id(ids.begin() + first * top_k, ids.begin() + (first + count) * top_k);
    out.resize(static_cast<size_t>(count * hidden));
    device.stream->moe_experts({.x = view_of(rows, {count, hidden}),
                                .ids = view_of(id, {count, top_k}),
                                .weights = view_of(weight, {count, top_k}),
                                .gate = gate,
                                .up = up,
                                .down = down,
                                .workspace = &workspace,
                                .out = view_of(out, {count, hidden})});
  };
  std::vector<float> together, alone;
  run(0, tokens, together);
  for (int64_t t = 0; t < tokens; ++t) {
    run(t, 1, alone);
    for (int64_t i = 0; i < hidden; ++i) ASSERT_EQ(alone[i], together[t * hidden + i]) << t;
  }
}

TEST(IntMatmul, ExpertsReadTheRowsTheyChose) {
  expect_experts_read_their_rows(open_device("cpu", 2), "Q8_0");
  for (const Machine& machine : machines()) {
    expect_experts_read_their_rows(machine.open(2), "BF16");
  }
}

}  // namespace
}  // namespace ferry::cpu
