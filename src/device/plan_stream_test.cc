// PlanStream against costs worked out by hand, and the message of check_support().
#include "device/plan_stream.h"

#include <gtest/gtest.h>

#include "device/int8_rows.h"
#include "device/workspace.h"

namespace ferry {
namespace {

WeightView weight(std::string_view format, int64_t rows, int64_t cols) {
  const quant::StorageFormat* f = quant::find_format(format);
  return {.format = f, .rows = rows, .cols = cols, .row_bytes = f->bytes_for(cols)};
}

TEST(PlanStream, CountsMatmulsAndAsksOnce) {
  PlanStream stream;
  Workspace workspace;
  const TensorView x = workspace.tensor(Dtype::kF32, {3, 64});
  const TensorView out = workspace.tensor(Dtype::kF32, {3, 10});
  for (int i = 0; i < 2; ++i) stream.matmul({.x = x, .w = weight("BF16", 10, 64), .out = out});
  EXPECT_EQ(stream.queries().size(), 1u);
  EXPECT_EQ(stream.cost(Op::kMatmul).calls, 2);
  EXPECT_EQ(stream.cost(Op::kMatmul).flops, 2 * 2.0 * 3 * 10 * 64);
  EXPECT_EQ(stream.total().weight_bytes, 2 * 10 * 64 * 2);
  EXPECT_EQ(stream.total().activation_bytes, 2 * (3 * 64 + 3 * 10) * 4);
}

TEST(PlanStream, CountsScaleGrids) {
  PlanStream stream;
  Workspace workspace;
  WeightView w = weight("F8_E4M3", 576, 200);
  w.scale_rows = w.scale_cols = 128;
  stream.matmul({.x = workspace.tensor(Dtype::kF32, {1, 200}),
                 .w = w,
                 .out = workspace.tensor(Dtype::kF32, {1, 576})});
  EXPECT_EQ(stream.total().weight_bytes, 576 * 200 + 5 * 2 * 4);
  EXPECT_EQ(describe(stream.queries()[0]), "matmul F8_E4M3 block-scaled [576 x 200]");
}

TEST(PlanStream, CausalPairsAndCacheBytes) {
  PlanStream stream;
  Workspace workspace;
  const std::vector<int32_t> starts = {0, 1, 4}, contexts = {7, 5};
  BatchView batch;
  batch.num_tokens = 4;
  batch.num_sequences = 2;
  batch.query_start.host = starts;
  batch.context_lengths.host = contexts;
  const TensorView q = workspace.tensor(Dtype::kF32, {4, 6, 16});
  const TensorView pages = workspace.tensor(Dtype::kBF16, {9, 4, 32});
  stream.gqa_attention(
      {.q = q, .k_pages = pages, .v_pages = pages, .num_kv_heads = 2, .batch = &batch, .out = q});
  const double pairs = 7 + (3 + 4 + 5);
  EXPECT_EQ(stream.cost(Op::kGqaAttention).flops, pairs * 6 * (2 * 16 + 2 * 16));
  EXPECT_EQ(stream.cost(Op::kGqaAttention).cache_bytes, (7 + 5) * (32 + 32) * 2);
  // Pages of four rows of 32 and two scales each.
  const TensorView int8 = int8_pages(pages.data, 9, 4, 32, 16);
  PlanStream narrow;
  narrow.gqa_attention(
      {.q = q, .k_pages = int8, .v_pages = int8, .num_kv_heads = 2, .batch = &batch, .out = q});
  EXPECT_EQ(narrow.cost(Op::kGqaAttention).cache_bytes, 2 * (7 + 5) * 192 / 4);
}

TEST(PlanStream, FusedExpertsTakeTheWorkspaceOfTheComposite) {
  Workspace workspace;
  PlanStream stream;
  const std::vector<WeightView> gate(8, weight("BF16", 24, 32)), down(8, weight("Q8_0", 32, 64));
  const std::vector<WeightView> up = gate;
  const TensorView x = workspace.tensor(Dtype::kF32, {1, 32});
  const TensorView ids = workspace.tensor(Dtype::kI32, {1, 2});
  const int64_t before = workspace.bytes_max();
  stream.moe_experts({.x = x,
                      .ids = ids,
                      .weights = x,
                      .gate = gate,
                      .up = up,
                      .down = down,
                      .workspace = &workspace,
                      .out = x});
  EXPECT_GT(workspace.bytes_max(), before);
  EXPECT_EQ(stream.queries().size(), 2u);  // one per format; parts are not asked for
  EXPECT_EQ(stream.cost(Op::kMoeExperts).calls, 1);
  EXPECT_EQ(stream.cost(Op::kGroupedMatmul).calls, 0);
  // One token touches exactly its two experts.
  EXPECT_EQ(stream.cost(Op::kMoeExperts).weight_bytes, 2 * (2 * 24 * 32 * 2 + 32 * 64 / 32 * 34));
}

TEST(CheckSupport, NamesEverythingThatIsMissing) {
  auto backend = open_backend("reference", {});
  ASSERT_TRUE(backend.ok());
  const auto* q8 = quant::find_format("Q8_0");
  const auto* i64 = quant::find_format("I64");
  const OpQuery fine{.op = Op::kMatmul, .format = q8, .rows = 4, .cols = 32};
  const OpQuery integers{.op = Op::kMatmul, .format = i64, .rows = 4, .cols = 8};
  const OpQuery pages{.op = Op::kKvWrite, .dtype = Dtype::kI32, .cols = 576};
  EXPECT_TRUE(check_support(**backend, std::vector<OpQuery>{fine}).ok());
  const Status status = check_support(**backend, std::vector<OpQuery>{integers, fine, pages});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kUnsupported);
  EXPECT_EQ(status.error().message,
            "backend reference (scalar reference) lacks: matmul I64 [4 x 8], kv_write i32 [576]");
}

}  // namespace
}  // namespace ferry
