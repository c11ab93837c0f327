// Views: shapes, strides and addresses after slicing, splitting and merging.
#include "base/tensor_view.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace ferry {
namespace {

float at(const TensorView& view, std::initializer_list<int64_t> index) {
  int64_t offset = 0;
  int dim = 0;
  for (int64_t i : index) offset += i * view.stride[dim++];
  return static_cast<const float*>(view.data)[offset];
}

class TensorViewTest : public ::testing::Test {
 protected:
  TensorViewTest() { std::iota(data_.begin(), data_.end(), 0.0f); }
  std::vector<float> data_ = std::vector<float>(24);
  TensorView view_ = TensorView::contiguous(data_.data(), Dtype::kF32, {2, 3, 4});
};

TEST_F(TensorViewTest, ContiguousIsRowMajor) {
  EXPECT_EQ(3, view_.rank);
  EXPECT_EQ(12, view_.stride[0]);
  EXPECT_EQ(4, view_.stride[1]);
  EXPECT_EQ(1, view_.stride[2]);
  EXPECT_EQ(24, view_.num_elements());
  EXPECT_EQ(96, view_.extent_bytes());
  EXPECT_TRUE(view_.is_contiguous());
  EXPECT_FALSE(view_.empty());
  EXPECT_TRUE(TensorView{}.empty());
  EXPECT_EQ(23, at(view_, {1, 2, 3}));
}

TEST_F(TensorViewTest, SliceMovesTheStartAndKeepsStrides) {
  const TensorView rows = view_.slice(1, 1, 2);
  EXPECT_EQ(2, rows.shape[1]);
  EXPECT_EQ(16, rows.num_elements());
  EXPECT_FALSE(rows.is_contiguous());
  EXPECT_EQ(4, at(rows, {0, 0, 0}));
  EXPECT_EQ(23, at(rows, {1, 1, 3}));
  EXPECT_EQ(20 * 4, rows.extent_bytes());
  EXPECT_TRUE(view_.slice(0, 1, 1).is_contiguous());
  EXPECT_EQ(0, view_.slice(0, 2, 0).num_elements());
  EXPECT_EQ(0, view_.slice(0, 2, 0).extent_bytes());
}

TEST_F(TensorViewTest, SliceCountsBytesOfTheDtype) {
  TensorView bytes = TensorView::contiguous(data_.data(), Dtype::kBF16, {8});
  EXPECT_EQ(reinterpret_cast<char*>(data_.data()) + 6, bytes.slice(0, 3, 2).data);
  EXPECT_EQ(4, bytes.slice(0, 3, 2).extent_bytes());
}

TEST_F(TensorViewTest, SplitAndMergeAreInverse) {
  const TensorView split = view_.split_last(2, 2);
  EXPECT_EQ(4, split.rank);
  EXPECT_EQ(23, at(split, {1, 2, 1, 1}));
  EXPECT_TRUE(split.is_contiguous());
  const TensorView merged = split.merge_last();
  EXPECT_EQ(view_.shape, merged.shape);
  EXPECT_EQ(3, merged.rank);
  const TensorView flat = merged.merge_last();
  EXPECT_EQ(12, flat.shape[1]);
  EXPECT_EQ(23, at(flat, {1, 11}));
}

TEST_F(TensorViewTest, SplitWorksOnASliceOfRows) {
  const TensorView split = view_.slice(1, 0, 2).split_last(2, 2);
  EXPECT_EQ(19, at(split, {1, 1, 1, 1}));
  EXPECT_FALSE(split.is_contiguous());
}

TEST_F(TensorViewTest, MisuseIsCaught) {
  EXPECT_DEATH(view_.slice(1, 2, 2), "CHECK");
  EXPECT_DEATH(view_.slice(3, 0, 1), "CHECK");
  EXPECT_DEATH(view_.slice(0, -1, 1), "CHECK");
  EXPECT_DEATH(view_.split_last(3, 2), "CHECK");
  EXPECT_DEATH(view_.split_last(2, 2).split_last(1, 2), "CHECK");  // too many dimensions
  EXPECT_DEATH(view_.slice(2, 0, 2).merge_last(), "CHECK");        // not adjacent in memory
}

TEST(Dtype, BytesAndNames) {
  EXPECT_EQ(4, dtype_bytes(Dtype::kF32));
  EXPECT_EQ(2, dtype_bytes(Dtype::kBF16));
  EXPECT_EQ(1, dtype_bytes(Dtype::kI8));
  EXPECT_EQ(8, dtype_bytes(Dtype::kI64));
  EXPECT_EQ("f16", dtype_name(Dtype::kF16));
  EXPECT_EQ("i32", dtype_name(Dtype::kI32));
}

}  // namespace
}  // namespace ferry
