// The plan of memory on the emulated Ascend: see memory_plan_on_chip.h.
#include "vendor/ascend/cann.h"
#include "vendor/common/memory_plan_on_chip.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

void expect_plan_is_kept_on(const std::string& release, const std::string& config,
                            const std::string& weights, bool f32_activations,
                            KvDtype pages = KvDtype::kBF16) {
  ascend::use_release(release);
  PlannedModel model(FERRY_EMULATED_CANN "-" + release + "/lib64/libascendcl.so",
                     ascend::open_emulated({.f32_activations = f32_activations}), config, weights,
                     pages);
  expect_plan_is_kept(model);
}

TEST(AscendMemoryPlan, IsKeptWithGroupedQueries) {
  expect_plan_is_kept_on("current", config_of("qwen2"), "BF16", false);
}

TEST(AscendMemoryPlan, IsKeptWithLatentsAndExperts) {
  expect_plan_is_kept_on("current", config_of("deepseek_v3"), "BF16", false);
}

TEST(AscendMemoryPlan, IsKeptWithChosenPositions) {
  expect_plan_is_kept_on("current", config_of("deepseek_v32"), "BF16", true);
}

// Without fused operators.
TEST(AscendMemoryPlan, IsKeptOnA310P) {
  expect_plan_is_kept_on("310p", config_of("deepseek_v3"), "F16", false, KvDtype::kF16);
}

}  // namespace
}  // namespace ferry::engine
