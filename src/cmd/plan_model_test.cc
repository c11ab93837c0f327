// A model on disk counts the same in `ferry plan memory` as in `ferry show`: to the byte, whatever
// the file stores its tensors in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "base/json.h"
#include "cmd/testing.h"
#include "disk/testing.h"

namespace ferry::cmd {
namespace {

using ::testing::HasSubstr;

// Experts, a latent cache, a prediction module and a table of rope.
constexpr const char* kTinyConfig = R"json({
  "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": 512,
  "hidden_size": 256, "num_hidden_layers": 2, "intermediate_size": 512,
  "moe_intermediate_size": 256, "n_routed_experts": 4, "n_shared_experts": 1,
  "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "topk_method": "noaux_tc",
  "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.5,
  "first_k_dense_replace": 1, "moe_layer_freq": 1, "num_attention_heads": 4,
  "num_key_value_heads": 4, "q_lora_rank": 256, "kv_lora_rank": 256, "qk_nope_head_dim": 64,
  "qk_rope_head_dim": 32, "v_head_dim": 64, "max_position_embeddings": 4096, "rope_theta": 10000,
  "rms_norm_eps": 1e-06, "hidden_act": "silu", "attention_bias": false,
  "tie_word_embeddings": false, "num_nextn_predict_layers": 1})json";

class PlanOfAFile : public ::testing::Test {
 protected:
  void SetUp() override { disk::testing::write_bytes(dir_.file("config.json"), kTinyConfig); }

  std::string run(const std::string& arguments, bool fails) {
    const testing::Printed printed = testing::run_ferry(arguments);
    EXPECT_EQ(printed.failed, fails) << arguments << printed.text;
    return printed.text;
  }
  std::string said(const std::string& arguments) { return run(arguments, false); }
  std::string refused(const std::string& arguments) { return run(arguments, true); }
  Json json_said(const std::string& arguments) {
    const auto json = parse_json(said(arguments));
    EXPECT_TRUE(json.ok()) << arguments;
    return json.ok() ? *json : Json();
  }

  void agree(const std::string& model) {
    const Json shown = json_said("show " + model + " --context 512 --json");
    const Json planned =
        json_said("plan memory " + model + " --chips 'EPYC 9654' -c 512 --json")["memory"][0];
    const double held = planned["expert_weights"].get<double>() +
                        planned["other_weights"].get<double>() +
                        planned["embeddings"].get<double>();
    EXPECT_EQ(std::llround(held), shown["file_bytes"].get<int64_t>() +
                                      shown["memory"]["weights_bytes"].get<int64_t>() -
                                      shown["memory"]["replaced_bytes"].get<int64_t>())
        << model;
    EXPECT_EQ(planned["kv_bytes_per_token"].get<double>(),
              shown["memory"]["kv_bytes_per_token"].get<double>());
  }

  disk::testing::TempDir dir_;
};

TEST_F(PlanOfAFile, CountsWhatAnEngineHolds) {
  agree("demo");
  for (const auto& [quant, name] : {std::pair{"Q4_0", "a.gguf"},
                                    {"Q4_K_M", "b.gguf"},
                                    {"MXFP4", "c.gguf"},
                                    {"FP8", "folder"},
                                    {"BF16", "plain"}}) {
    const std::string model = dir_.file(name);
    said("synth " + dir_.file("config.json") + " --quant " + quant + " --out " + model);
    agree(model);
  }
}

TEST_F(PlanOfAFile, IsPlannedAsItLies) {
  const std::string model = dir_.file("a.gguf");
  said("synth " + dir_.file("config.json") + " --quant Q8_0 --out " + model);
  const Json plan = json_said("plan " + model + " --chips H20 --input 16 --output 16 --json");
  ASSERT_EQ(plan["options"].size(), 1u);
  EXPECT_EQ(plan["options"][0]["precision"], "file");
  // A model without a file has none.
  EXPECT_THAT(refused("plan memory qwen3-0.6b --chips H20 --precision file"),
              HasSubstr("qwen3-0.6b is not on disk"));
}

TEST_F(PlanOfAFile, SaysWhatStaysInAFileLargerThanMemory) {
  const std::string of = "plan deepseek-v3 --chips 'EPYC 9654' --precision bf16 --max-chips 1";
  const std::string text = run(of, true);
  EXPECT_THAT(text, HasSubstr("Larger than one machine's memory"));
  EXPECT_THAT(text, HasSubstr("What the disk reads is not known: --disk-gbs."));
  const auto larger = [&](const std::string& more) {
    const auto json = parse_json(run(of + " --json" + more, true));
    EXPECT_TRUE(json.ok());
    return (*json)["larger_than_memory"][0];
  };
  const Json unknown = larger("");
  EXPECT_TRUE(unknown["tokens_s_at_most"].is_null() && unknown["disk_gb_s"].is_null()) << unknown;
  const double share = unknown["expert_share"].get<double>();
  EXPECT_NEAR(share, 0.52, 0.02);  // 768 GB less a sixteenth and 34 GB of other weights, of 1308 GB
  EXPECT_NEAR(unknown["read_bytes_per_token"].get<double>(),
              unknown["expert_bytes_per_token"].get<double>() * (1 - share), 1);
  // Of this processor no peak is known.
  const Json known = larger(" --disk-gbs 4");
  EXPECT_EQ(known["disk_gb_s"], 4.0);
  EXPECT_TRUE(known["tokens_s_computed"].is_null() && known["tokens_s_at_most"].is_null());
}

TEST_F(PlanOfAFile, IsPredictedFromMeasuredKernels) {
  const std::string model = dir_.file("a.gguf"), here = dir_.file("here.json");
  said("synth " + dir_.file("config.json") + " --quant Q8_0 --pure --out " + model);
  said("plan --calibrate-here --megabytes 1 --repeat 1 --formats Q8_0 --out " + here);
  const std::string on_it = model + " --chips " + here + " --batch 1,4 --generate 2";
  const Json predicted = json_said("plan bench " + on_it + " --prompt 64 --json")["predicted"];
  const Json longer = json_said("plan bench " + on_it + " --prompt 512 --json")["predicted"];
  ASSERT_EQ(predicted.size(), 3u);
  for (const Json& point : predicted) EXPECT_GT(point["tokens_s"].get<double>(), 0) << point;
  EXPECT_GT(longer[0]["seconds"].get<double>(), predicted[0]["seconds"].get<double>());
  // As a chip among others.
  const Json plan =
      json_said("plan " + model + " --chips here --chips-file " + here + " --max-chips 1 --json");
  EXPECT_EQ(plan["options"][0]["chip"], "here");
  // What was not measured is named, and so is a file without a measured chip.
  const std::string other = dir_.file("b.gguf");
  said("synth " + dir_.file("config.json") + " --quant Q5_0 --out " + other);
  EXPECT_THAT(refused("plan bench " + other + " --chips " + here),
              HasSubstr("Q5_0 was not measured there; measured: Q8_0"));
  EXPECT_THAT(refused("plan bench " + model + " --chips H20"), HasSubstr("none was measured"));
  EXPECT_THAT(refused("plan --calibrate-here --formats Q9"), HasSubstr("format \"Q9\": not known"));
}

}  // namespace
}  // namespace ferry::cmd
