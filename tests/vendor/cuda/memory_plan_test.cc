// The plan of memory on the emulated GPU: see memory_plan_on_chip.h.
#include "vendor/common/memory_plan_on_chip.h"
#include "vendor/cuda/emulated_driver.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

struct PlanCase {
  const char* name;
  std::string config;
  const char* weights;
  bool by_library, f32;
  std::vector<const char*> kernels;  // that are to have run
  double most_times;                 // as much scratch as was needed
};
void PrintTo(const PlanCase& plan_case, std::ostream* out) { *out << plan_case.name; }

class CudaMemoryPlan : public ::testing::TestWithParam<PlanCase> {};

TEST_P(CudaMemoryPlan, IsKept) {
  const PlanCase& c = GetParam();
  cuda::use_driver("current");
  if (c.by_library) cuda::use_cublaslt("current");
  PlannedModel model(cuda::driver_path(), cuda::open_on_driver({.f32_activations = c.f32}),
                     c.config, c.weights);
  expect_plan_is_kept(model);
  expect_scratch_is_needed(model, c.most_times);
  EXPECT_EQ(cuda::cublaslt_count("products") > 0, c.by_library);
  for (const char* kernel : c.kernels) EXPECT_GT(cuda::kernel_launches(kernel), 0) << kernel;
}

// Latents so long that to expand them is less work.
const std::string kLongLatents =
    config_of("deepseek_v3", R"("kv_lora_rank": 32)", R"("kv_lora_rank": 128)");

INSTANTIATE_TEST_SUITE_P(
    Models, CudaMemoryPlan,
    ::testing::Values(
        PlanCase{"gqa_by_library",
                 config_of("qwen2"),
                 "BF16",
                 true,
                 false,
                 {"ferry_to_bf16", "ferry_flash_attention_64"},
                 1.1},
        PlanCase{"gqa",
                 config_of("qwen2"),
                 "BF16",
                 false,
                 false,
                 {"ferry_flash_attention_64", "ferry_mma_attention", "ferry_merge_attention"},
                 2},
        PlanCase{"gqa_f32", config_of("qwen2"), "BF16", false, true, {"ferry_attention"}, 2},
        PlanCase{"mla_by_library",
                 kLongLatents,
                 "F16",
                 true,
                 false,
                 {"ferry_to_bf16", "ferry_expand_latents"},
                 1.1},
        PlanCase{"mla",
                 kLongLatents,
                 "BF16",
                 false,
                 false,
                 {"ferry_expand_latents", "ferry_mma_attention", "ferry_moe_permute"},
                 1.5},
        PlanCase{"mla_absorbed",
                 config_of("deepseek_v2"),
                 "BF16",
                 false,
                 true,
                 {"ferry_attention"},
                 1.5},
        PlanCase{"mla_sparse",
                 config_of("deepseek_v32"),
                 "BF16",
                 false,
                 false,
                 {"ferry_attention", "ferry_index_top_k"},
                 1.5}),
    [](const auto& test) { return std::string(test.param.name); });

// What does not fit is said before anything is loaded, with scratch among the numbers.
TEST(CudaMemoryPlanOfTooMuch, IsRefused) {
  cuda::use_driver("current");
  cuda::use_cublaslt("current");
  const PlannedModel model(cuda::driver_path(), cuda::open_on_driver(), config_of("qwen2"), "BF16");
  EXPECT_GE(model.plan().scratch_bytes, 32 << 20);
  const int64_t wanted = model.plan().total_bytes();
  EXPECT_TRUE(model.sizes(wanted).ok());
  const auto refused = model.sizes(wanted - 1);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::kOutOfMemory);
  const std::string scratch =
      fmt::format(" + scratch of ops {:.1f} MiB + ",
                  static_cast<double>(model.plan().scratch_bytes) / (1 << 20));
  EXPECT_NE(refused.error().message.find(scratch), std::string::npos) << refused.error().message;
}

}  // namespace
}  // namespace ferry::engine
