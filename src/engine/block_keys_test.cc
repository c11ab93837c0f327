// The hash against its published vectors, and what keys of blocks tell apart.
#include "engine/block_keys.h"

#include <gtest/gtest.h>

#include <numeric>

namespace ferry::engine {
namespace {

TEST(BlockKeys, TheHashIsSipHash128) {
  // The key and inputs of the reference implementation's vectors: 00 01 02 …
  const BlockSecret secret = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
  EXPECT_EQ(keyed_hash(secret, {}), (BlockKey{0xe6a825ba047f81a3u, 0x930255c71472f66du}));
  const std::vector<uint8_t> one = {0};
  EXPECT_EQ(keyed_hash(secret, one), (BlockKey{0x44af996bd8c187dau, 0x45fc229b11597634u}));
}

TEST(BlockKeys, EqualMeansEqualFromTheBeginningInOneScope) {
  const BlockSecret secret = random_block_secret();
  std::vector<int32_t> tokens(50);
  std::iota(tokens.begin(), tokens.end(), 100);
  const auto keys = block_keys(secret, "", tokens, 16);
  ASSERT_EQ(keys.size(), 3u);
  std::vector<int32_t> other = tokens;
  other[20] = 7;
  const auto branched = block_keys(secret, "", other, 16);
  EXPECT_EQ(branched[0], keys[0]);
  EXPECT_NE(branched[1], keys[1]);
  EXPECT_NE(branched[2], keys[2]);  // the same tokens behind others
  EXPECT_NE(block_keys(secret, "somebody", tokens, 16)[0], keys[0]);
  EXPECT_NE(block_keys(random_block_secret(), "", tokens, 16)[0], keys[0]);
  EXPECT_TRUE(block_keys(secret, "", std::span(tokens).first(15), 16).empty());
}

}  // namespace
}  // namespace ferry::engine
