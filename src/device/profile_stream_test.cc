// ProfileStream over the reference backend: it computes what the stream behind it computes, and the
// account is that of the plan, but for experts, where it is what was really chosen.
#include "device/profile_stream.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "device/workspace.h"

namespace ferry {
namespace {

class ProfileStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto backend = open_backend("reference", {});
    ASSERT_TRUE(backend.ok());
    backend_ = *backend;
    stream_ = std::make_unique<ProfileStream>(std::move(*backend_->create_stream()));
    auto memory = backend_->allocate(1 << 16);
    ASSERT_TRUE(memory.ok());
    memory_ = *memory;
    workspace_ = std::make_unique<Workspace>(memory_.data, memory_.bytes);
    std::memset(memory_.data, 0, static_cast<size_t>(memory_.bytes));
  }

  // A BF16 matrix of ones.
  WeightView ones(int64_t rows, int64_t cols) {
    const quant::StorageFormat* format = quant::find_format("BF16");
    const auto data = std::make_shared<std::vector<uint16_t>>(rows * cols, 0x3f80);
    const auto weight = backend_->import_weight(
        {.format = format,
         .data = {reinterpret_cast<const uint8_t*>(data->data()), data->size() * 2},
         .rows = rows,
         .cols = cols,
         .keep_alive = data});
    EXPECT_TRUE(weight.ok());
    weights_.push_back(*weight);
    return weights_.back().view;
  }

  std::shared_ptr<Backend> backend_;
  std::unique_ptr<ProfileStream> stream_;
  Buffer memory_;
  std::unique_ptr<Workspace> workspace_;
  std::vector<Weight> weights_;
};

TEST_F(ProfileStreamTest, PassesOnAndKeepsTheAccountOfThePlan) {
  const TensorView x = workspace_->tensor(Dtype::kF32, {2, 8});
  const TensorView out = workspace_->tensor(Dtype::kF32, {2, 4});
  float* values = static_cast<float*>(x.data);
  for (int i = 0; i < 16; ++i) values[i] = static_cast<float>(i);
  const MatmulArgs args{.x = x, .w = ones(4, 8), .out = out};
  stream_->matmul(args);
  ASSERT_TRUE(stream_->synchronize().ok());
  EXPECT_EQ(static_cast<float*>(out.data)[0], 28);
  EXPECT_EQ(static_cast<float*>(out.data)[7], 92);

  PlanStream plan;
  plan.matmul(args);
  const OpProfile& profile = stream_->profile(Op::kMatmul);
  EXPECT_EQ(profile.cost.calls, 1);
  EXPECT_EQ(profile.cost.flops, plan.total().flops);
  EXPECT_EQ(profile.cost.weight_bytes, plan.total().weight_bytes);
  EXPECT_GT(profile.seconds, 0);
  EXPECT_EQ(stream_->total().cost.calls, 1);
  stream_->reset();
  EXPECT_EQ(stream_->total().cost.calls, 0);
}

TEST_F(ProfileStreamTest, ProductsOfOneJobAreCallsOfTheirOwn) {
  const TensorView x = workspace_->tensor(Dtype::kF32, {2, 8});
  const TensorView narrow = workspace_->tensor(Dtype::kF32, {2, 4});
  const TensorView wide = workspace_->tensor(Dtype::kF32, {2, 6});
  float* values = static_cast<float*>(x.data);
  for (int i = 0; i < 16; ++i) values[i] = static_cast<float>(i);
  const MatmulArgs products[] = {{.x = x, .w = ones(4, 8), .out = narrow},
                                 {.x = x, .w = ones(6, 8), .out = wide}};
  stream_->matmuls(products);
  ASSERT_TRUE(stream_->synchronize().ok());
  EXPECT_EQ(static_cast<float*>(narrow.data)[0], 28);
  EXPECT_EQ(static_cast<float*>(wide.data)[11], 92);
  EXPECT_EQ(stream_->profile(Op::kMatmul).cost.calls, 2);
  EXPECT_EQ(stream_->profile(Op::kMatmul).cost.weight_bytes, (4 + 6) * 8 * 2);
}

TEST_F(ProfileStreamTest, CountsTheExpertsThatWereChosen) {
  const std::vector<WeightView> gate(6, ones(4, 8)), up = gate, down(6, ones(8, 4));
  const TensorView x = workspace_->tensor(Dtype::kF32, {3, 8});
  const TensorView ids = workspace_->tensor(Dtype::kI32, {3, 2});
  const TensorView weights = workspace_->tensor(Dtype::kF32, {3, 2});
  const TensorView out = workspace_->tensor(Dtype::kF32, {3, 8});
  const int32_t chosen[] = {5, 1, 1, 5, 5, 2};  // three different ones
  std::memcpy(ids.data, chosen, sizeof chosen);
  stream_->moe_experts({.x = x,
                        .ids = ids,
                        .weights = weights,
                        .gate = gate,
                        .up = up,
                        .down = down,
                        .workspace = workspace_.get(),
                        .out = out});
  ASSERT_TRUE(stream_->synchronize().ok());
  const OpProfile& profile = stream_->profile(Op::kMoeExperts);
  EXPECT_EQ(profile.cost.calls, 1);
  EXPECT_EQ(profile.cost.weight_bytes, 3 * 3 * (4 * 8 * 2));
  EXPECT_EQ(stream_->profile(Op::kGroupedMatmul).cost.calls, 0);  // fused stays fused
}

TEST_F(ProfileStreamTest, EveryOpIsPassedOnUnderItsOwnName) {
  const TensorView a = workspace_->tensor(Dtype::kF32, {2, 8});
  stream_->add({.a = a, .b = a, .out = a});
  stream_->copy({.x = a, .out = a});
  stream_->add_rms_norm({.residual = a,
                         .delta = a,
                         .weight = a.slice(0, 0, 1).merge_last(),
                         .epsilon = 1e-6f,
                         .out = a});
  ASSERT_TRUE(stream_->synchronize().ok());
  EXPECT_EQ(stream_->profile(Op::kAdd).cost.calls, 1);
  EXPECT_EQ(stream_->profile(Op::kCopy).cost.calls, 1);
  EXPECT_EQ(stream_->profile(Op::kAddRmsNorm).cost.calls, 1);
  EXPECT_EQ(stream_->profile(Op::kRmsNorm).cost.calls, 0);
}

}  // namespace
}  // namespace ferry
