// The table of storage formats, and first_bad_block of each: that it finds exactly the blocks that
// would decode to something not finite, wherever they lie.
#include "quant/storage_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace ferry::quant {
namespace {

TEST(StorageFormat, NamesAndIdsAreUniqueAndSizesSane) {
  std::set<std::string_view> names;
  std::set<std::string_view> dtypes;
  std::set<int> types;
  for (const StorageFormat* format : all_formats()) {
    SCOPED_TRACE(format->name);
    EXPECT_TRUE(names.insert(format->name).second);
    EXPECT_TRUE(format->safetensors.empty() || dtypes.insert(format->safetensors).second);
    EXPECT_TRUE(format->gguf_type < 0 || types.insert(format->gguf_type).second);
    // INT4 is declared as something else, and any bits are good numbers.
    const bool int4 = format->name == "INT4";
    EXPECT_TRUE(format->gguf_type >= 0 || !format->safetensors.empty() || int4)
        << "found in no file";
    EXPECT_GT(format->block_elements, 0);
    EXPECT_GT(format->block_bytes, 0);
    // Computed with in both directions, or carried only.
    EXPECT_EQ(format->decode != nullptr, format->encode != nullptr);
    EXPECT_EQ(format->decode != nullptr, format->first_bad_block != nullptr || int4);
    EXPECT_EQ(format, find_format(format->name));
  }
  EXPECT_GE(names.size(), 26u);
}

TEST(StorageFormat, LookupsFindByNameIdAndDtype) {
  EXPECT_EQ("Q4_K", find_format("q4_k")->name);
  EXPECT_EQ("Q4_K", find_gguf_type(12)->name);
  EXPECT_EQ("BF16", find_safetensors_dtype("BF16")->name);
  EXPECT_EQ(find_gguf_type(30), find_safetensors_dtype("BF16"));
  EXPECT_EQ(nullptr, find_format("Q4_9"));
  EXPECT_EQ(nullptr, find_format(""));
  EXPECT_EQ(nullptr, find_gguf_type(-1));
  EXPECT_EQ(nullptr, find_gguf_type(4));  // withdrawn by the format's authors
  EXPECT_EQ(nullptr, find_safetensors_dtype(""));
  EXPECT_EQ(nullptr, find_safetensors_dtype("bf16"));
}

TEST(StorageFormat, BytesForCountsBlocks) {
  EXPECT_EQ(144, find_format("Q4_K")->bytes_for(256));
  EXPECT_EQ(18 * 64, find_format("Q4_0")->bytes_for(2048));
  EXPECT_EQ(8, find_format("F32")->bytes_for(2));
}

TEST(StorageFormat, DtypesOfSafetensorsThatAreOnlyCarried) {
  for (const char* dtype : {"F64", "I64", "I32", "I16", "I8", "U8", "BOOL", "F8_E5M2"}) {
    const StorageFormat* format = find_safetensors_dtype(dtype);
    ASSERT_NE(nullptr, format) << dtype;
    EXPECT_EQ(nullptr, format->decode) << dtype;
    EXPECT_EQ(1, format->block_elements) << dtype;
  }
  EXPECT_EQ("F64", find_gguf_type(28)->name);
  EXPECT_EQ("I64", find_gguf_type(27)->name);
}

bool decodes_finite(const StorageFormat& format, const uint8_t* block) {
  std::vector<float> values(format.block_elements);
  format.decode(block, values.data(), 1);
  for (float value : values) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

std::vector<uint8_t> good_blocks(const StorageFormat& format, int64_t num_blocks) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  constexpr int64_t kDistinct = 100;  // then the same again: encoding takes longer than scanning
  const int64_t encoded = std::min(num_blocks, kDistinct);
  std::vector<float> values(encoded * format.block_elements);
  for (float& value : values) value = normal(random);
  std::vector<uint8_t> blocks(num_blocks * format.block_bytes);
  format.encode(values.data(), blocks.data(), encoded);
  for (size_t i = encoded * format.block_bytes; i < blocks.size(); ++i) {
    blocks[i] = blocks[i - encoded * format.block_bytes];
  }
  return blocks;
}

// Random bytes make bad blocks of every kind; the answer must agree with decoding. MXFP4 alone may
// also refuse a block whose exponent is out of range though its codes are small.
TEST(FirstBadBlock, AgreesWithDecodingOverRandomBytes) {
  std::mt19937 random(6);
  for (const StorageFormat* format : all_formats()) {
    if (format->first_bad_block == nullptr) continue;
    SCOPED_TRACE(format->name);
    int num_bad = 0;
    std::vector<uint8_t> block(format->block_bytes);
    for (int i = 0; i < 20000; ++i) {
      for (uint8_t& byte : block) byte = static_cast<uint8_t>(random());
      const bool bad = format->first_bad_block(block.data(), 1) == 0;
      if (format->name == "MXFP4") {
        ASSERT_EQ(block[0] > 252, bad);
        ASSERT_TRUE(bad || decodes_finite(*format, block.data()));
      } else {
        // A K-quant with a bad dmin and a minimum of 0 is 0 · ∞: not finite either way.
        ASSERT_EQ(!decodes_finite(*format, block.data()), bad) << "trial " << i;
      }
      num_bad += bad;
    }
    EXPECT_GT(num_bad, 0);
    EXPECT_LT(num_bad, 20000);
  }
}

TEST(FirstBadBlock, FindsTheFirstOneAtAnyPlace) {
  constexpr int64_t kBlocks = 2500;  // several groups, the last one short
  for (const StorageFormat* format : all_formats()) {
    if (format->first_bad_block == nullptr) continue;
    SCOPED_TRACE(format->name);
    std::vector<uint8_t> blocks = good_blocks(*format, kBlocks);
    EXPECT_EQ(-1, format->first_bad_block(blocks.data(), kBlocks));
    EXPECT_EQ(-1, format->first_bad_block(blocks.data(), 0));
    // All ones is NaN in every field that can be one.
    const std::vector<uint8_t> bad(format->block_bytes, 0xff);
    std::copy(bad.begin(), bad.end(), blocks.end() - format->block_bytes);
    EXPECT_EQ(kBlocks - 1, format->first_bad_block(blocks.data(), kBlocks));
    EXPECT_EQ(-1, format->first_bad_block(blocks.data(), kBlocks - 1));
    for (int64_t at : {1025, 1024, 1023, 64, 63, 1, 0}) {
      std::copy(bad.begin(), bad.end(), blocks.begin() + at * format->block_bytes);
      EXPECT_EQ(at, format->first_bad_block(blocks.data(), kBlocks));
    }
  }
}

TEST(DecodeRow, DecodesWholeBlocks) {
  const StorageFormat& format = *find_format("Q8_0");
  const std::vector<uint8_t> row = good_blocks(format, 3);
  std::vector<float> expected(96);
  std::vector<float> found(96);
  format.decode(row.data(), expected.data(), 3);
  decode_row(format, row.data(), found.data(), 96);
  EXPECT_EQ(expected, found);
  EXPECT_DEATH(decode_row(format, row.data(), found.data(), 95), "CHECK");
  EXPECT_DEATH(decode_row(*find_format("I64"), row.data(), found.data(), 1), "CHECK");
}

}  // namespace
}  // namespace ferry::quant
