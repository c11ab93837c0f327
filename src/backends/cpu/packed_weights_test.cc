// Packed weights: the same bits as the rows of the file, in every format, at every level, whatever
// the sizes; and every op that takes weights takes packed ones.
#include "backends/cpu/packed_weights.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "backends/cpu/testing.h"
#include "device/host_memory.h"

namespace ferry::cpu {
namespace {

class PackedMatmulTest : public ::testing::TestWithParam<const IntKernels*> {
 protected:
  const IntKernels* kernels = GetParam();

  const PackedFormat* packed_format(const char* name) const {
    for (int i = 0; i < kernels->packed->num_formats; ++i) {
      if (std::strcmp(kernels->packed->formats[i].format, name) == 0) {
        return &kernels->packed->formats[i];
      }
    }
    return nullptr;
  }
};
INSTANTIATE_TEST_SUITE_P(Levels, PackedMatmulTest, ::testing::ValuesIn(all_int_kernels()),
                         [](const auto& test) { return std::string(test.param->name); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PackedMatmulTest);

TEST_P(PackedMatmulTest, EveryFormatButThoseWithLargeCodebooks) {
  ASSERT_NE(kernels->packed, nullptr);
  for (int f = 0; f < kernels->num_formats; ++f) {
    const std::string_view name = kernels->formats[f].format;
    const bool large_codebook = name == "IQ2_XXS" || name == "IQ3_XXS";
    EXPECT_EQ(packed_format(kernels->formats[f].format) == nullptr, large_codebook) << name;
  }
}

// All blocks of a matrix, as the stream cuts it up.
std::vector<float> multiply(void (*kernel)(const IntMatmulBlock&), const uint8_t* data,
                            const WeightView& w, const std::vector<uint8_t>& x, int64_t tokens,
                            int64_t block_rows, const std::vector<float>& bias) {
  std::vector<float> out(static_cast<size_t>(tokens * w.rows));
  for (int64_t row = 0; row < w.rows; row += block_rows) {
    run_int_block(kernel, {.data = data + row * w.row_bytes,
                           .row_bytes = w.row_bytes,
                           .cols = w.cols,
                           .rows = std::min(block_rows, w.rows - row),
                           .x = x.data(),
                           .tokens = tokens,
                           .bias = bias.data() + row,
                           .out = out.data() + row,
                           .out_stride = w.rows});
  }
  return out;
}

TEST_P(PackedMatmulTest, SameBitsAsRowsOfTheFile) {
  const TestDevice device = open_device("cpu");
  for (int f = 0; f < kernels->num_formats; ++f) {
    const IntFormat& entry = kernels->formats[f];
    const PackedFormat* const packed = packed_format(entry.format);
    if (packed == nullptr) continue;
    const auto* format = quant::find_format(entry.format);
    ASSERT_NE(format, nullptr);
    for (int64_t cols : {format->block_elements, int64_t{768}, int64_t{2304}}) {
      for (int64_t rows : {1, 16, 45}) {
        const TestWeight w(*device.backend, *format, rows, cols, 3);
        const WeightView& view = w.weight.view;
        const HostWeight host{.format = format, .data = w.bytes, .rows = rows, .cols = cols};
        // A byte behind what is promised would show.
        const auto bytes = static_cast<size_t>(packed_bytes(host));
        std::vector<uint8_t> strips(bytes + 64, 0xAB);
        for (int64_t row = 0; row < rows; row += kPackedRows) {
          packed->pack_strip({.rows = w.bytes.data() + row * view.row_bytes,
                              .row_bytes = view.row_bytes,
                              .cols = cols,
                              .count = std::min(kPackedRows, rows - row),
                              .out = strips.data() + row * view.row_bytes});
        }
        for (size_t i = bytes; i < strips.size(); ++i) ASSERT_EQ(strips[i], 0xAB);
        for (int64_t tokens : {1, 2, 3, 4, 5, 8, 9, 16, 33}) {
          const auto x = quantize_rows(*kernels, random_floats(tokens * cols, 5), cols);
          const std::vector<float> bias = random_floats(rows, 6);
          const int64_t block_rows = tokens <= 4 ? kPackedRows : kMaxBlockRows;
          const auto expected =
              multiply(entry.matmul_block, w.bytes.data(), view, x, tokens, block_rows, bias);
          const auto actual =
              multiply(packed->matmul_block, strips.data(), view, x, tokens, block_rows, bias);
          ASSERT_EQ(actual, expected)
              << entry.format << ", " << rows << " x " << cols << ", " << tokens << " tokens";
        }
      }
    }
  }
}

// The layout, by hand: Q8_0 of two blocks, 3 rows.
TEST_P(PackedMatmulTest, PartsOfABlockLieSideBySide) {
  const PackedFormat* const packed = packed_format("Q8_0");
  ASSERT_NE(packed, nullptr);
  constexpr int64_t kRows = 3, kCols = 64, kRowBytes = 68;
  std::vector<uint8_t> rows(kRows * kRowBytes);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<uint8_t>(i);
  std::vector<uint8_t> strip(kPackedRows * kRowBytes);
  packed->pack_strip({rows.data(), kRowBytes, kCols, kRows, strip.data()});
  for (int64_t r = 0; r < kPackedRows; ++r) {
    const uint8_t* const row = rows.data() + std::min(r, kRows - 1) * kRowBytes;
    for (int64_t b = 0; b < 2; ++b) {
      const uint8_t* const block = strip.data() + b * 34 * kPackedRows;
      EXPECT_EQ(std::memcmp(block + 2 * r, row + 34 * b, 2), 0);
      for (int64_t k = 0; k < 32; k += 4) {
        EXPECT_EQ(std::memcmp(block + (2 + k) * kPackedRows + 4 * r, row + 34 * b + 2 + k, 4), 0);
      }
    }
  }
}

// Every op that multiplies by weights, with packed ones and with others.
TEST(PackedWeights, SameBitsInEveryOp) {
  for (Level level : available_levels()) {
    const TestDevice device = open_cpu(level, 2);
    SCOPED_TRACE(level_name(level));
    for (const char* name : {"Q4_0", "Q6_K", "Q8_0", "IQ2_XXS", "BF16"}) {
      const auto* format = quant::find_format(name);
      const int64_t rows = 90, cols = 256, tokens = 6;
      const TestWeight plain(*device.backend, *format, rows, cols, 3);
      const TestWeight packed(*device.backend, *format, rows, cols, 3, 0, true);
      const HostWeight host{
          .format = format, .data = packed.bytes, .rows = rows, .cols = cols, .pack = true};
      const bool is_packed = packed_strips(packed.weight.view) != nullptr;
      EXPECT_EQ(device.backend->import_bytes(host), is_packed ? packed_bytes(host) : 0) << name;
      EXPECT_EQ(packed_strips(plain.weight.view), nullptr);

      std::vector<float> x = random_floats(tokens * cols, 5), out[2];
      const TestWeight* const weights[] = {&plain, &packed};
      for (int i = 0; i < 2; ++i) {
        out[i].resize(static_cast<size_t>(tokens * rows));
        device.stream->matmul({.x = view_of(x, {tokens, cols}),
                               .w = weights[i]->weight.view,
                               .out = view_of(out[i], {tokens, rows})});
      }
      EXPECT_EQ(out[0], out[1]) << name;

      // Heads that begin within a strip.
      for (int i = 0; i < 2; ++i) {
        out[i].assign(static_cast<size_t>(tokens * 3 * 20), 0);
        const HeadMatrixView heads{.weight = weights[i]->weight.view,
                                   .num_heads = 3,
                                   .rows = 20,
                                   .cols = cols,
                                   .first_row = 10,
                                   .head_stride = 30};
        std::vector<float> all;
        for (int h = 0; h < 3; ++h) all.insert(all.end(), x.begin(), x.end());
        device.stream->per_head_matmul({.x = view_of(all, {tokens, 3, cols}),
                                        .u = heads,
                                        .apply_transposed = false,
                                        .out = view_of(out[i], {tokens, 3, 20})});
      }
      EXPECT_EQ(out[0], out[1]) << name;

      std::vector<int32_t> ids = {0, 89, 17};
      for (int i = 0; i < 2; ++i) {
        out[i].assign(static_cast<size_t>(3 * cols), 0);
        device.stream->embed({.table = weights[i]->weight.view,
                              .ids = view_of(ids, {3}),
                              .out = view_of(out[i], {3, cols})});
      }
      EXPECT_EQ(out[0], out[1]) << name;
      EXPECT_TRUE(device.stream->synchronize().ok());
    }
  }
}

// Weights that wait to be packed: used where they lie until then, one after the other, and left out
// where nobody has them any more.
TEST(PackedWeights, LaterMeansTheSameBits) {
  for (Level level : available_levels()) {
    const TestDevice device = open_cpu(level, 2);
    SCOPED_TRACE(level_name(level));
    Backend& backend = *device.backend;
    const auto* format = quant::find_format("Q4_0");
    const int64_t rows = 1000, cols = 4096, tokens = 3;
    const TestWeight plain(backend, *format, rows, cols, 3);
    const TestWeight packed(backend, *format, rows, cols, 3, 0, true);
    std::vector<int> order;
    std::vector<Weight> weights;
    HostWeight host{
        .format = format, .data = plain.bytes, .rows = rows, .cols = cols, .pack = true};
    for (int i = 0; i < 4; ++i) {
      host.when_packed = [&order, i] { order.push_back(i); };
      auto weight = backend.import_weight(host);
      ASSERT_TRUE(weight.ok());
      weights.push_back(*std::move(weight));
    }
    std::vector<float> x = random_floats(tokens * cols, 5), out[2];
    const auto multiply = [&](const Weight& weight, std::vector<float>& to) {
      to.assign(static_cast<size_t>(tokens * rows), 0);
      device.stream->matmul(
          {.x = view_of(x, {tokens, cols}), .w = weight.view, .out = view_of(to, {tokens, rows})});
      EXPECT_TRUE(device.stream->synchronize().ok());
    };
    multiply(plain.weight, out[0]);
    if (backend.spec().packed_layout.empty()) {
      EXPECT_EQ(backend.pack_more(1), 0);
      EXPECT_TRUE(order.empty());
      continue;
    }
    const int64_t bytes = packed_bytes(host);
    EXPECT_EQ(backend.pack_more(0), 4 * bytes);
    weights.erase(weights.begin() + 1);
    EXPECT_EQ(backend.pack_more(0), 3 * bytes);
    EXPECT_EQ(backend.packed_form(weights[0].view), nullptr);
    int64_t left = 3 * bytes, calls = 0;
    while (left > 0) {
      ++calls;
      const int64_t now = backend.pack_more(1e-9);  // a slice
      EXPECT_LE(now, left);
      left = now;
      for (const Weight& weight : weights) {
        multiply(weight, out[1]);
        EXPECT_EQ(out[0], out[1]);
      }
    }
    EXPECT_GT(calls, 3);
    EXPECT_EQ(order, (std::vector<int>{0, 2, 3}));
    for (const Weight& weight : weights) {
      ASSERT_NE(backend.packed_form(weight.view), nullptr);
      EXPECT_EQ(std::memcmp(backend.packed_form(weight.view),
                            backend.packed_form(packed.weight.view), static_cast<size_t>(bytes)),
                0);
    }
  }
}

TEST(PackedWeights, PartsOfMemoryDoNotOverlap) {
  PackedMemory memory;
  std::vector<std::shared_ptr<uint8_t>> parts;
  std::set<uintptr_t> lines;
  for (int64_t bytes : {1, 64, 65, 5000, 1 << 20}) {
    auto part = memory.take(bytes);
    ASSERT_TRUE(part.ok());
    const auto address = reinterpret_cast<uintptr_t>(part->get());
    EXPECT_EQ(address % 64, 0U);
    std::memset(part->get(), 1, static_cast<size_t>(bytes));
    for (int64_t line = 0; line < bytes; line += 64) {
      EXPECT_TRUE(lines.insert(address + static_cast<uintptr_t>(line)).second);
    }
    parts.push_back(std::move(part).value());
  }
  const auto too_large = memory.take(host_memory_info().total_bytes + 1);
  ASSERT_FALSE(too_large.ok());
  EXPECT_EQ(too_large.error().kind, ErrorKind::kOutOfMemory);
}

}  // namespace
}  // namespace ferry::cpu
