// The plan of memory on the emulated MLU: see memory_plan_on_chip.h.
#include "vendor/cambricon/neuware.h"
#include "vendor/common/memory_plan_on_chip.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

void expect_plan_is_kept_on(const std::string& release, const std::string& config,
                            bool f32_activations) {
  cambricon::use_release(release);
  PlannedModel model(FERRY_EMULATED_NEUWARE "-" + release + "/lib64/libcnrt.so",
                     cambricon::open_emulated({.f32_activations = f32_activations}), config,
                     "BF16");
  expect_plan_is_kept(model);
}

TEST(CambriconMemoryPlan, IsKeptWithGroupedQueries) {
  expect_plan_is_kept_on("current", config_of("qwen2"), false);
}

TEST(CambriconMemoryPlan, IsKeptWithLatentsAndExperts) {
  expect_plan_is_kept_on("current", config_of("deepseek_v3"), false);
}

TEST(CambriconMemoryPlan, IsKeptWithChosenPositions) {
  expect_plan_is_kept_on("old", config_of("deepseek_v32"), true);
}

}  // namespace
}  // namespace ferry::engine
