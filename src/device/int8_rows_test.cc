// Rows of the cache as int8: what a row becomes, and where it and its scales lie.
#include "device/int8_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace ferry {
namespace {

TEST(Int8Rows, RoundsToNearestWithinHalfAStep) {
  std::vector<float> x;
  for (int i = 0; i < 200; ++i) x.push_back(std::sin(static_cast<float>(i)) * 3.7f);
  std::vector<int8_t> q(x.size());
  float scale = 0;
  int8_quantize(x.data(), 200, q.data(), &scale);
  EXPECT_EQ(*std::max_element(q.begin(), q.end()), 127);
  EXPECT_GE(*std::min_element(q.begin(), q.end()), -127);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(scale * static_cast<float>(q[i]), x[i], scale * 0.5001f);
  }
}

TEST(Int8Rows, EdgesOfTheNumbers) {
  int8_t q[3];
  float scale = 1;
  const float zeros[] = {0.0f, -0.0f, 0.0f}, tiny[] = {1e-39f, -1e-38f, 0.0f};
  const float huge[] = {3e38f, -3e38f, 1.0f}, infinite[] = {1, INFINITY, 2}, nan[] = {NAN, 1, 2};
  for (const float* x : {zeros, tiny}) {
    int8_quantize(x, 3, q, &scale);
    EXPECT_EQ(scale, 0.0f);
    EXPECT_EQ(std::count(q, q + 3, 0), 3);
  }
  int8_quantize(huge, 3, q, &scale);
  EXPECT_EQ(q[0], 127);
  EXPECT_EQ(q[1], -127);
  EXPECT_FLOAT_EQ(scale * 127.0f, 3e38f);
  for (const float* x : {infinite, nan}) {
    int8_quantize(x, 3, q, &scale);
    EXPECT_TRUE(std::isnan(scale));
  }
}

TEST(Int8Rows, RowsAndScalesKeepOutOfEachOthersWay) {
  constexpr int64_t kPages = 3, kBlock = 5, kWidth = 27, kGroup = 10;
  const int64_t page_bytes = int8_page_bytes(kBlock, kWidth, kGroup);
  EXPECT_EQ(page_bytes % kInt8PageAlignment, 0);
  EXPECT_GE(page_bytes, kBlock * (kWidth + 3 * 4));
  std::vector<float> memory(static_cast<size_t>(kPages * page_bytes / 4));
  const TensorView pages = int8_pages(memory.data(), kPages, kBlock, kWidth, kGroup);
  EXPECT_DOUBLE_EQ(bytes_per_row(pages), static_cast<double>(page_bytes) / kBlock);
  std::vector<float> row(kWidth);
  auto value = [](int64_t slot, int64_t i) {
    return static_cast<float>(slot + 1) * (i % 2 ? 1 : -1);
  };
  for (int64_t slot = 0; slot < kPages * kBlock; ++slot) {
    for (int64_t i = 0; i < kWidth; ++i) row[static_cast<size_t>(i)] = value(slot, i);
    int8_write_row(pages, slot, kGroup, row.data());
  }
  for (int64_t slot = 0; slot < kPages * kBlock; ++slot) {
    const float* scales = int8_scales(pages, slot / kBlock, slot % kBlock, kGroup);
    const int8_t* q = static_cast<const int8_t*>(pages.data) + slot / kBlock * page_bytes +
                      slot % kBlock * kWidth;
    for (int64_t i = 0; i < kWidth; ++i) {
      EXPECT_FLOAT_EQ(scales[i / kGroup] * static_cast<float>(q[i]), value(slot, i)) << slot;
    }
  }
}

}  // namespace
}  // namespace ferry
