// DeepSeek-V4 as the planner reads it from its config, held to numbers of the published
// checkpoints.
#include <gtest/gtest.h>

#include "plan/deployment.h"
#include "plan/model.h"

namespace ferry::plan {
namespace {

// From config.json and tensor inventory of the checkpoints.
struct Inventory {
  const char* name;
  int64_t moe_layers;
  double expert, embedding, other;  // parameters
  double kv_elements;               // per token
};

TEST(WindowModel, FromItsConfigIsWhatWasPublished) {
  for (const Inventory& known :
       {Inventory{"deepseek-v4-flash", 43, 25165824, 529530880, 6247788119, 3440},
        Inventory{"deepseek-v4-pro", 61, 66060288, 926679040, 23747657571, 4924}}) {
    const PlanModel model = find_model(known.name).value();
    EXPECT_EQ(model.moe_layers, known.moe_layers);
    EXPECT_EQ(model.mtp_modules, 1);
    EXPECT_EQ(model.max_context, 1 << 20);
    EXPECT_DOUBLE_EQ(model.expert_parameters, known.expert);
    EXPECT_DOUBLE_EQ(model.embedding_parameters, known.embedding);
    EXPECT_DOUBLE_EQ(model.head_parameters, known.embedding);
    EXPECT_NEAR(model.other_parameters, known.other, known.other * 1e-3);
    EXPECT_DOUBLE_EQ(model.kv_elements_per_token(), known.kv_elements);
  }
}

// Per query of Flash, from the sizes in its config: 64 heads of 512 over a window of 128 in 43
// layers, over 512 chosen of the entries per 4 tokens in 21, over all entries per 128 in 20.
TEST(WindowModel, AttendsToWindowChosenAndAllEntries) {
  const PlanModel flash = find_model("deepseek-v4-flash").value();
  constexpr double kPair = 4 * 64 * 512;
  EXPECT_DOUBLE_EQ(flash.attention_flops(1 << 20, true),  // + 2: layers with no entries count one
                   kPair * (43 * 128 + 21 * 512 + 20 * 8192.0 + 2));
  EXPECT_DOUBLE_EQ(flash.index_flops(1 << 20), 21 * 262144.0 * 2 * 64 * 128);
  EXPECT_DOUBLE_EQ(flash.kv_bytes_read(1 << 20, 1, true),
                   512 * (43 * 128 + 21 * 512 + 20 * 8192.0) + 21 * 262144.0 * (64 + 4));
}

// A million tokens take what their entries take; what windows hold does not grow with them.
TEST(WindowModel, AMillionTokensFit) {
  const PlanModel model = find_model("deepseek-v4-flash").value();
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
