// Random weights: the right spread, the same bytes everywhere, never past the end.
#include "quant/random_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace ferry::quant {
namespace {

std::vector<uint8_t> filled(RandomBlocks& random, const StorageFormat& format, int64_t num_blocks) {
  std::vector<uint8_t> bytes(num_blocks * format.block_bytes);
  random.fill(bytes.data(), num_blocks);
  return bytes;
}

// FNV-1a, to pin bytes.
uint64_t hash_of_blocks(const std::vector<uint8_t>& bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3u;
  return hash;
}

TEST(RandomBlocks, HaveTheMomentsAskedFor) {
  for (const char* name : {"F32", "BF16", "Q8_0", "Q4_K", "MXFP4"}) {
    SCOPED_TRACE(name);
    const StorageFormat& format = *find_format(name);
    RandomBlocks random(format, 0.02f, 1);
    constexpr int64_t kElements = 1 << 20;
    const std::vector<uint8_t> bytes = filled(random, format, kElements / format.block_elements);
    EXPECT_EQ(-1, format.first_bad_block(bytes.data(), kElements / format.block_elements));
    std::vector<float> values(kElements);
    decode_row(format, bytes.data(), values.data(), kElements);
    double sum = 0, squares = 0, fourths = 0;
    for (float value : values) {
      const double scaled = value / 0.02;
      sum += scaled;
      squares += scaled * scaled;
      fourths += scaled * scaled * scaled * scaled;
    }
    EXPECT_NEAR(0, sum / kElements, 0.01);
    EXPECT_NEAR(1, squares / kElements, 0.03);    // rounding at least error takes some off
    EXPECT_NEAR(2.9, fourths / kElements, 0.15);  // twelve uniforms: a kurtosis of 3 − 0.1
  }
}

TEST(RandomBlocks, SameSeedSameBytesOtherSeedOtherBytes) {
  const StorageFormat& format = *find_format("Q4_0");
  RandomBlocks one(format, 1, 7);
  RandomBlocks again(format, 1, 7);
  RandomBlocks other(format, 1, 8);
  const std::vector<uint8_t> bytes = filled(one, format, 1000);
  EXPECT_EQ(bytes, filled(again, format, 1000));
  EXPECT_NE(bytes, filled(other, format, 1000));
  EXPECT_NE(bytes, filled(one, format, 1000));  // the sequence goes on
  one.reseed(7);
  EXPECT_EQ(bytes, filled(one, format, 1000));
}

TEST(RandomBlocks, BytesArePinned) {
  const StorageFormat& f32 = *find_format("F32");
  RandomBlocks plain(f32, 1, 42);
  EXPECT_EQ(14634791971537025045u, hash_of_blocks(filled(plain, f32, 5000)));
  const StorageFormat& q8 = *find_format("Q8_0");
  RandomBlocks packed(q8, 0.5f, 0);
  EXPECT_EQ(5322447083101910643u, hash_of_blocks(filled(packed, q8, 5000)));
}

TEST(RandomBlocks, WriteExactlyWhatWasAskedFor) {
  for (const char* name : {"F8_E4M3", "Q6_K", "Q4_0"}) {
    const StorageFormat& format = *find_format(name);
    RandomBlocks random(format, 1, 3);
    for (int64_t count : {0, 1, 2, 3, 511, 512, 513}) {
      std::vector<uint8_t> bytes(count * format.block_bytes + 1, 0xaa);
      random.fill(bytes.data(), count);
      EXPECT_EQ(0xaa, bytes.back()) << name << " " << count;
    }
  }
}

TEST(RandomBlocks, RowsDiffer) {
  const StorageFormat& format = *find_format("BF16");
  RandomBlocks random(format, 1, 3);
  const std::vector<uint8_t> first = filled(random, format, 2048);
  for (int i = 0; i < 100; ++i) EXPECT_NE(first, filled(random, format, 2048));
}

TEST(RandomBlocks, RefuseAFormatThatCannotBeEncoded) {
  EXPECT_DEATH(RandomBlocks(*find_format("I64"), 1, 0), "CHECK");
}

}  // namespace
}  // namespace ferry::quant
