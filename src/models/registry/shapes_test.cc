// The public shapes have exactly the parameters that their publishers count (MODELS §2.4).
#include "models/registry/shapes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/registry/select.h"

namespace ferry::models {
namespace {

struct Count {
  std::string_view name;
  int64_t parameters;
  int64_t mtp = 0;
};

// Of DeepSeek-V4's three tables of experts by token id.
constexpr int64_t kTableEntries = 2'327'040;

constexpr Count kCounts[] = {
    {"deepseek-v2-lite", 15'706'484'224},
    {"deepseek-v2", 235'741'434'880},
    {"deepseek-v3", 671'026'419'200, 11'610'068'224},
    {"deepseek-v3.2", 671'877'944'064, 11'624'027'648},
    {"deepseek-v4-flash", 284'332'240'471 + kTableEntries, 6'610'048'891},
    {"deepseek-v4-pro", 1'572'997'201'763 + kTableEntries, 25'840'145'979},
    {"kimi-k2", 1'026'408'232'448},
    {"r1-distill-qwen-1.5b", 1'777'088'000},
    {"r1-distill-qwen-7b", 7'615'616'512},
    {"r1-distill-qwen-14b", 14'770'033'664},
    {"r1-distill-qwen-32b", 32'763'876'352},
    {"r1-distill-llama-8b", 8'030'261'248},
    {"r1-distill-llama-70b", 70'553'706'496},
    {"qwen3-0.6b", 596'049'920},
    {"qwen3-1.7b", 1'720'574'976},
    {"qwen3-4b", 4'022'468'096},
    {"qwen3-8b", 8'190'735'360},
    {"qwen3-14b", 14'768'307'200},
    {"qwen3-32b", 32'762'123'264},
    {"qwen3-30b-a3b", 30'532'122'624},
    {"qwen3-235b-a22b", 235'093'634'560},
};

int64_t parameters(const Json& config, const TensorListOptions& options) {
  auto tensors = list_tensors(config, options);
  EXPECT_TRUE(tensors.ok()) << tensors.error().message;
  return tensors.ok() ? count_parameters(*tensors) : 0;
}

TEST(PublicShapes, HaveTheirPublishedParameters) {
  EXPECT_EQ(public_shapes().size(), std::size(kCounts));
  for (const Count& expected : kCounts) {
    auto config = public_shape_config(expected.name);
    ASSERT_TRUE(config.ok()) << config.error().message;
    const int64_t main = parameters(*config, {});
    EXPECT_EQ(main, expected.parameters) << expected.name;
    EXPECT_EQ(parameters(*config, {.mtp = true}) - main, expected.mtp) << expected.name;
    // kv_b in two halves has as many numbers as in one piece.
    EXPECT_EQ(parameters(*config, {.split_kv_b = true}), main) << expected.name;
  }
}

TEST(PublicShapes, AreFoundByNameInAnyCase) {
  ASSERT_NE(find_public_shape("DeepSeek-V2-Lite"), nullptr);
  EXPECT_EQ(find_public_shape("DeepSeek-V2-Lite")->name, "deepseek-v2-lite");
  EXPECT_EQ(find_public_shape("gpt-2"), nullptr);
  auto unknown = public_shape_config("gpt-2");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().kind, ErrorKind::kNotFound);
  EXPECT_THAT(unknown.error().message, testing::HasSubstr("deepseek-v3"));
}

TEST(PublicShapes, ListTensorsOnceWithTheirShapes) {
  auto config = public_shape_config("deepseek-v2-lite");
  ASSERT_TRUE(config.ok());
  auto tensors = list_tensors(*config, {.split_kv_b = true});
  ASSERT_TRUE(tensors.ok());
  std::vector<std::string> names;
  for (const auto& tensor : *tensors) names.push_back(tensor.name);
  const auto find = [&](std::string_view name) {
    return std::find_if(tensors->begin(), tensors->end(),
                        [&](const auto& tensor) { return tensor.name == name; });
  };
  const auto k_b = find("model.layers.26.self_attn.k_b_proj.weight");
  ASSERT_NE(k_b, tensors->end());
  EXPECT_THAT(k_b->shape, testing::ElementsAre(16, 512, 128));
  const auto experts = find("model.layers.1.mlp.experts.down_proj.weight");
  ASSERT_NE(experts, tensors->end());
  EXPECT_THAT(experts->shape, testing::ElementsAre(64, 2048, 1408));
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

}  // namespace
}  // namespace ferry::models
