// Packed weights that outlive the program: their layout is what its name says, whatever packs them,
// and weights that bring them along need no packing.
#include <gtest/gtest.h>

#include "backends/cpu/packed_weights.h"
#include "backends/cpu/testing.h"

namespace ferry::cpu {
namespace {

uint64_t hash_of(std::span<const uint8_t> bytes, uint64_t hash) {
  for (const uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

// Copies on disk hold strips: should the number below have to change, so does kPackedLayout.
TEST(PackedLayout, IsWhatItsNameSays) {
  for (const IntKernels* kernels : all_int_kernels()) {
    uint64_t hash = 0xcbf29ce484222325;
    for (int f = 0; f < kernels->packed->num_formats; ++f) {
      const PackedFormat& packed = kernels->packed->formats[f];
      const quant::StorageFormat* const format = quant::find_format(packed.format);
      ASSERT_NE(format, nullptr);
      const int64_t cols = 2 * format->block_elements, row_bytes = 2 * format->block_bytes;
      for (const int64_t count : {int64_t{16}, int64_t{5}}) {
        std::vector<uint8_t> rows(static_cast<size_t>(kPackedRows * row_bytes));
        for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<uint8_t>(i * 151 + i / 256);
        std::vector<uint8_t> strip(rows.size());
        packed.pack_strip({rows.data(), row_bytes, cols, count, strip.data()});
        hash = hash_of(strip, hash);
      }
    }
    EXPECT_STREQ(kPackedLayout, "cpu strips 1");
    EXPECT_EQ(hash, 1370864497910032615u) << kernels->name;
  }
}

TEST(PackedLayout, WeightsThatWerePackedBeforeAreUsedWhereTheyLie) {
  for (const Level level : available_levels()) {
    const TestDevice device = open_cpu(level, 2);
    SCOPED_TRACE(level_name(level));
    const auto* format = quant::find_format("Q4_K");
    const int64_t rows = 45, cols = 512, tokens = 3;
    const TestWeight packed(*device.backend, *format, rows, cols, 3, 0, true);
    const uint8_t* const strips = packed_strips(packed.weight.view);
    EXPECT_EQ(device.backend->spec().packed_layout.empty(), strips == nullptr);
    if (strips == nullptr) continue;
    HostWeight host{
        .format = format, .data = packed.bytes, .rows = rows, .cols = cols, .pack = true};
    std::vector<uint8_t> kept(strips, strips + packed_bytes(host));
    host.packed = kept;
    EXPECT_EQ(device.backend->import_bytes(host), 0);
    const auto before = device.backend->import_weight(host);
    ASSERT_TRUE(before.ok()) << before.error().message;
    EXPECT_EQ(packed_strips(before->view), kept.data());
    std::vector<float> x = random_floats(tokens * cols, 5), out[2];
    const WeightView views[] = {packed.weight.view, before->view};
    for (int i = 0; i < 2; ++i) {
      out[i].resize(static_cast<size_t>(tokens * rows));
      device.stream->matmul(
          {.x = view_of(x, {tokens, cols}), .w = views[i], .out = view_of(out[i], {tokens, rows})});
    }
    EXPECT_TRUE(device.stream->synchronize().ok());
    EXPECT_EQ(out[0], out[1]);

    host.packed = std::span(kept).first(kept.size() - 1);
    EXPECT_FALSE(device.backend->import_weight(host).ok());
    // Without leave to pack, and where activations stay f32, the file's rows are used.
    host.packed = kept;
    const TestDevice exact = open_cpu(level, 1, true);
    EXPECT_TRUE(exact.backend->spec().packed_layout.empty());
    EXPECT_EQ(packed_strips(exact.backend->import_weight(host)->view), nullptr);
    host.pack = false;
    EXPECT_EQ(packed_strips(device.backend->import_weight(host)->view), nullptr);
  }
}

}  // namespace
}  // namespace ferry::cpu
