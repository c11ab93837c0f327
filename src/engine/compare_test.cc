// Comparing two backends op by op: nothing is wrong where nothing is, on any architecture, and
// layers are counted right.
#include "engine/compare.h"

#include <gtest/gtest.h>

#include "engine/testing.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

class CompareOps : public ::testing::TestWithParam<TinyModel> {};

TEST_P(CompareOps, NothingIsWrongWithTheCpu) {
  const Json config = parse(GetParam().config);
  const disk::testing::TempDir dir;
  TinyWeights weights = random_weights(config, 7);
  const std::string path = write_hf(dir, config, hf_tensors(weights));
  const LoadedModel reference = load(path, backend_named("reference"));
  const LoadedModel cpu = load(path, backend_named("cpu", 1, true));
  const std::vector<int32_t> tokens = random_tokens(20, reference.spec().vocab_size, 3);
  const auto comparison = compare_ops(reference, cpu, tokens, {.prefill = 18});
  ASSERT_TRUE(comparison.ok()) << comparison.error().message;
  int64_t last_layer = -1, last_forward = -1;
  for (const OpDifference& op : comparison->ops) {
    EXPECT_FALSE(comparison->is_wrong(op))
        << op_name(op.op) << " of layer " << op.layer << ": " << op.error;
    last_layer = std::max(last_layer, op.layer);
    last_forward = std::max(last_forward, op.forward);
  }
  EXPECT_EQ(last_layer, config["num_hidden_layers"].get<int64_t>() - 1);
  EXPECT_EQ(last_forward, 2);
}

INSTANTIATE_TEST_SUITE_P(Architectures, CompareOps, ::testing::ValuesIn(tiny_models()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(CompareOpsLimits, AreNamed) {
  const disk::testing::TempDir dir;
  const TinyModel tiny = tiny_models().front();
  TinyWeights weights = random_weights(parse(tiny.config), 7);
  const LoadedModel model =
      load(write_hf(dir, parse(tiny.config), hf_tensors(weights)), backend_named("reference"));
  const auto many = compare_ops(model, model, std::vector<int32_t>(kMaxComparedTokens + 1, 1), {});
  ASSERT_FALSE(many.ok());
  EXPECT_EQ(many.error().message, "65 tokens to compare: 64 are as many as are kept, and enough");
  const auto narrow = compare_ops(model, model, std::vector<int32_t>{1}, {.kv_dtype = Dtype::kI8});
  ASSERT_FALSE(narrow.ok());
  EXPECT_EQ(narrow.error().kind, ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace ferry::engine
