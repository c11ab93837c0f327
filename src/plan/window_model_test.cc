// DeepSeek-V4 as the planner reads it from its config: the numbers that data/plan/models.json has
// from the published checkpoints.
#include <gtest/gtest.h>

#include "models/registry/shapes.h"
#include "nn/kv_cache.h"
#include "plan/deployment.h"
#include "plan/model.h"

namespace ferry::plan {
namespace {

TEST(WindowModel, FromItsConfigIsWhatWasPublished) {
  for (const char* name : {"deepseek-v4-flash", "deepseek-v4-pro"}) {
    const PlanModel known = find_model(name).value();
    const PlanModel model =
        model_from_config(models::public_shape_config(name).value(), name).value();
    EXPECT_EQ(model.moe_layers, known.moe_layers);
    EXPECT_EQ(model.mtp_modules, known.mtp_modules);
    EXPECT_EQ(model.max_context, known.max_context);
    EXPECT_DOUBLE_EQ(model.expert_parameters, known.expert_parameters);
    EXPECT_DOUBLE_EQ(model.embedding_parameters, known.embedding_parameters);
    EXPECT_DOUBLE_EQ(model.head_parameters, known.head_parameters);
    EXPECT_NEAR(model.other_parameters, known.other_parameters, known.other_parameters * 1e-3);
    EXPECT_DOUBLE_EQ(model.kv_elements_per_token(), known.kv_elements_per_token());
    for (const double context : {1000.0, 1e6}) {
      for (const bool decode : {false, true}) {
        EXPECT_DOUBLE_EQ(model.attention_flops(context, decode),
                         known.attention_flops(context, decode));
        EXPECT_DOUBLE_EQ(model.kv_bytes_read(context, 1, decode),
                         known.kv_bytes_read(context, 1, decode));
      }
      EXPECT_DOUBLE_EQ(model.index_flops(context), known.index_flops(context));
    }
  }
}

// A million tokens take what their entries take; what windows hold does not grow with them.
TEST(WindowModel, AMillionTokensFit) {
  const PlanModel model =
      model_from_config(models::public_shape_config("deepseek-v4-flash").value(), "flash").value();
  const Catalogue catalogue = builtin_catalogue().value();
  const Deployment d{.chip = catalogue.find("H200").value(),
                     .model = &model,
                     .precision = find_precision("fp4").value(),
                     .tp = 8,
                     .ep = 8};
  const MemoryUse use = memory_of(d).value();
  EXPECT_NEAR(use.kv_per_token, 8000, 100);
  EXPECT_GT(use.kv_per_sequence, 40e6);
  EXPECT_LT(use.kv_per_sequence, 200e6);
  EXPECT_GE(use.max_sequences(1 << 20, 1), 4);
}

}  // namespace
}  // namespace ferry::plan
