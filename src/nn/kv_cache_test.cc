// The paged cache: what its planes take, in each dtype, and that they do not overlap.
#include "nn/kv_cache.h"

#include <gtest/gtest.h>

namespace ferry::nn {
namespace {

KvLayout two_planes() {
  KvLayout layout;
  EXPECT_EQ(layout.add_plane(576, 512), 0);
  EXPECT_EQ(layout.add_plane(128, 128), 1);
  return layout;
}

TEST(KvCache, BytesPerToken) {
  EXPECT_EQ(kv_bytes_per_token(two_planes(), PageKind::kAll, Dtype::kF32, 16), 704 * 4);
  EXPECT_EQ(kv_bytes_per_token(two_planes(), PageKind::kAll, Dtype::kBF16, 16), 704 * 2);
  EXPECT_EQ(kv_bytes_per_token(two_planes(), PageKind::kAll, Dtype::kI8, 16), 704 + (2 + 1) * 4);
}

TEST(KvCache, PlanesDoNotOverlap) {
  for (Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16, Dtype::kI8}) {
    const KvCacheSpec spec{.dtype = dtype, .block_size = 16, .num_pages = 5};
    const KvLayout layout = two_planes();
    const KvCache cache = KvCache::measuring(layout, spec);
    const auto* first = static_cast<const char*>(cache.plane(0).data);
    const auto* second = static_cast<const char*>(cache.plane(1).data);
    const int64_t page = cache.plane(0).stride[0] * dtype_bytes(dtype);
    EXPECT_GE(second - first, spec.num_pages * page);
    EXPECT_GE(page, spec.block_size * 576 * dtype_bytes(dtype));
    EXPECT_GE(kv_cache_bytes(layout, spec),
              80 * kv_bytes_per_token(layout, PageKind::kAll, dtype, 16));
    EXPECT_EQ(cache.plane(1).shape[2], 128);
    EXPECT_EQ(cache.group(0), 512);
  }
}

// Planes with a row for every four or 128 tokens, and one that stays in f32.
TEST(KvCache, PlanesWithFewerRows) {
  KvLayout layout;
  layout.add_plane({.width = 10, .group = 8, .tokens_per_row = 4});
  layout.add_plane({.width = 6, .group = 6, .tokens_per_row = 128});
  layout.add_plane({.width = 3, .group = 3, .always_f32 = true});
  const KvCacheSpec spec{.dtype = Dtype::kI8, .block_size = 18, .num_pages = 2};
  const KvCache cache = KvCache::measuring(layout, spec);
  EXPECT_EQ(cache.plane(0).shape[1], 5);
  EXPECT_EQ(cache.plane(1).shape[1], 1);
  EXPECT_EQ(cache.plane(2).shape[1], 18);
  EXPECT_EQ(cache.plane(2).dtype, Dtype::kF32);
  const int64_t page = 5 * (10 + 2 * 4) + (6 + 4) + 18 * 3 * 4;
  EXPECT_EQ(kv_bytes_per_token(layout, PageKind::kAll, Dtype::kI8, 18), (page + 17) / 18);
}

TEST(KvCache, PlanesOfRecentTokensHaveTheirOwnPages) {
  KvLayout layout;
  layout.add_plane({.width = 8, .group = 8, .tokens_per_row = 4});
  layout.add_plane({.width = 6, .group = 6, .recent_tokens = 12});
  layout.add_plane({.width = 4, .group = 4, .always_f32 = true, .recent_tokens = 5});
  EXPECT_EQ(layout.recent_tokens(), 12);
  KvCacheSpec spec{.dtype = Dtype::kBF16, .block_size = 16, .num_pages = 9, .num_recent_pages = 3};
  const KvCache cache = KvCache::measuring(layout, spec);
  EXPECT_EQ(cache.plane(0).shape[0], 9);
  EXPECT_EQ(cache.plane(1).shape[0], 3);
  EXPECT_EQ(cache.plane(2).shape[0], 3);
  EXPECT_EQ(kv_bytes_per_token(layout, PageKind::kAll, Dtype::kBF16, 16), 4);
  EXPECT_EQ(kv_bytes_per_token(layout, PageKind::kRecent, Dtype::kBF16, 16), 12 + 16);
  const int64_t own = kv_cache_bytes(layout, spec);
  spec.num_pages = 18;
  EXPECT_LE(kv_cache_bytes(layout, spec) - own, 9 * 16 * 4 + 256);
  spec.num_recent_pages = 0;  // the others' pages
  EXPECT_EQ(KvCache::measuring(layout, spec).plane(2).shape[0], 18);
}

}  // namespace
}  // namespace ferry::nn
