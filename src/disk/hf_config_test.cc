// Configs: canonical forms of config.json, and GGUF key-values to the same keys and back.
#include "disk/hf_config.h"

#include <gmock/gmock.h>

#include "base/quote_name.h"
#include "disk/gguf.h"
#include "disk/gguf_names.h"
#include "disk/safetensors.h"
#include "disk/testing.h"

namespace ferry::disk {
namespace {

using testing::as_bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TempDir;
using testing::write_bytes;

Json parsed(std::string_view text) { return parse_json(text).value(); }
Json canonical(std::string_view text) { return canonical_config(parsed(text), "c.json").value(); }

TEST(HfConfig, RopeParameters) {
  Json config =
      canonical(R"({"rope_parameters": {"rope_theta": 5e5, "rope_type": "yarn", "factor": 4}})");
  EXPECT_EQ(config["rope_theta"], 5e5);
  EXPECT_EQ(config["rope_scaling"]["type"], "yarn");
  EXPECT_EQ(config["rope_scaling"]["factor"], 4);
  EXPECT_FALSE(config.contains("rope_parameters"));
  config = canonical(R"({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}})");
  EXPECT_TRUE(config["rope_scaling"].is_null());
  // One object per table: not for this place to take apart.
  config = canonical(R"({"rope_parameters": {"main": {"rope_theta": 1e4}}})");
  EXPECT_TRUE(config.contains("rope_parameters"));
}

TEST(HfConfig, ScalingTypeUnderBothNames) {
  EXPECT_EQ(canonical(R"({"rope_scaling": {"type": "yarn"}})")["rope_scaling"]["rope_type"],
            "yarn");
  EXPECT_EQ(canonical(R"({"rope_scaling": {"rope_type": "yarn"}})")["rope_scaling"]["type"],
            "yarn");
  EXPECT_TRUE(canonical(R"({"rope_scaling": null})")["rope_scaling"].is_null());
  EXPECT_THAT(canonical_config(parsed(R"({"rope_scaling": 3})"), "c.json").error().message,
              HasSubstr("c.json: rope_scaling: expected an object, found an integer"));
  EXPECT_THAT(
      canonical_config(parsed(R"({"rope_scaling": {"type": 3}})"), "c.json").error().message,
      HasSubstr("c.json: rope_scaling: type: expected a string"));
}

TEST(HfConfig, NoQueryRank) {
  EXPECT_TRUE(canonical(R"({"q_lora_rank": 0})")["q_lora_rank"].is_null());
  EXPECT_EQ(canonical(R"({"q_lora_rank": 8})")["q_lora_rank"], 8);
}

TEST(HfConfig, File) {
  TempDir dir;
  const Folder folder = Folder::on_disk(dir.path()).value();
  EXPECT_THAT(read_hf_config(folder).error().message, HasSubstr("config.json: no such file"));
  write_bytes(dir.file("config.json"), "[1]");
  EXPECT_THAT(read_hf_config(folder).error().message,
              HasSubstr("config.json: expected a JSON object, found an array"));
  write_bytes(dir.file("config.json"), "{\"a\": 1,}");
  EXPECT_THAT(read_hf_config(folder).error().message, HasSubstr("config.json: not valid JSON at"));
  write_bytes(dir.file("config.json"), R"({"a\nb": 1, "a\nb": 2})");
  EXPECT_THAT(read_hf_config(folder).error().message,
              HasSubstr(R"(config.json: key "a\x0ab" appears twice)"));
  const std::string key = std::string(199, 'k') + "éé";  // byte 200 is within the first é
  write_bytes(dir.file("config.json"), "{\"" + key + "\": 1, \"" + key + "\": 2}");
  EXPECT_TRUE(is_utf8(read_hf_config(folder).error().message));
}

TEST(GgufNames, BothWays) {
  const auto there = [](const char* name) { return tensor_name_from_gguf("deepseek2", name); };
  EXPECT_EQ(there("token_embd.weight"), "model.embed_tokens.weight");
  EXPECT_EQ(there("blk.12.attn_k_b.weight"), "model.layers.12.self_attn.k_b_proj.weight");
  EXPECT_EQ(there("blk.3.exp_probs_b.bias"), "model.layers.3.mlp.gate.e_score_correction_bias");
  EXPECT_EQ(there("blk.3.attn_q.bias"), "model.layers.3.self_attn.q_proj.bias");
  EXPECT_EQ(there("blk.61.nextn.eh_proj.weight"), "model.layers.61.eh_proj.weight");
  for (const char* name :
       {"blk.03.attn_q.weight", "blk..attn_q.weight", "blk.3", "blk.", "blk.3.x", "attn_q.weight",
        "blk.99999999.attn_q.weight", "", "output", "blk.3attn"}) {
    EXPECT_EQ(there(name), std::nullopt) << name;
  }
  EXPECT_EQ(tensor_name_from_gguf("deepseek4", "blk.3.exp_probs_b.bias"), "layers.3.ffn.gate.bias");
  EXPECT_EQ(tensor_name_from_gguf("deepseek4", "blk.3.ffn_gate_inp.weight"),
            "layers.3.ffn.gate.weight");
  EXPECT_EQ(tensor_name_to_gguf("deepseek4", "layers.3.ffn.gate.bias"), "blk.3.exp_probs_b.bias");
  EXPECT_EQ(tensor_name_to_gguf("deepseek2", "model.layers.0.mlp.experts.down_proj.weight"),
            "blk.0.ffn_down_exps.weight");
  EXPECT_EQ(tensor_name_to_gguf("deepseek2", "model.layers.0.mlp.experts.3.down_proj.weight"),
            std::nullopt);
  EXPECT_EQ(tensor_name_from_gguf("gpt2", "output.weight"), std::nullopt);
  for (const auto& [gguf, hf] : {std::pair{"blk.42.attn_q_a.weight", "layers.42.attn.wq_a.weight"},
                                 {"blk.43.attn_q_a.weight", "mtp.0.attn.wq_a.weight"},
                                 {"blk.43.ffn_down_exps.weight", "mtp.0.ffn.experts.w2.weight"},
                                 {"blk.43.nextn.e_proj.weight", "mtp.0.e_proj.weight"},
                                 {"blk.43.nextn.hc_head_fn.weight", "mtp.0.hc_head_fn"},
                                 {"blk.43.nextn.shared_head_norm.weight", "mtp.0.norm.weight"}}) {
    EXPECT_EQ(tensor_name_from_gguf("deepseek4", gguf, 43), hf);
    EXPECT_EQ(tensor_name_to_gguf("deepseek4", hf, 43), gguf);
  }
  EXPECT_EQ(tensor_name_from_gguf("deepseek4", "blk.42.nextn.e_proj.weight", 43), std::nullopt);
  EXPECT_EQ(tensor_name_to_gguf("deepseek4", "layers.4.e_proj.weight", 43), std::nullopt);
  EXPECT_EQ(model_type_of_gguf("deepseek2", true), "deepseek_v3");
  EXPECT_EQ(model_type_of_gguf("deepseek2", false), "deepseek_v2");
  EXPECT_EQ(model_type_of_gguf("gpt2", false), std::nullopt);
  EXPECT_EQ(gguf_architecture_of("kimi_k2"), "deepseek2");
  EXPECT_EQ(gguf_architecture_of("gpt2"), std::nullopt);
}

// A GGUF file of these key-values and tensors (all F32, empty data allowed), read back.
class GgufConfig : public ::testing::Test {
 protected:
  Result<Json> config(const GgufKeyValues& keys, std::vector<TensorDecl> tensors = {}) {
    auto writer = GgufWriter::create(dir_.file("m.gguf"), keys, tensors);
    if (!writer.ok()) return writer.error();
    for (const TensorDecl& tensor : tensors) {
      const std::vector<float> ones(tensor.shape.front(), 8.0f);
      EXPECT_TRUE(writer->write(as_bytes(ones)).ok());
    }
    EXPECT_TRUE(writer->finish().ok());
    FERRY_TRY(GgufFile file, read_gguf(dir_.file("m.gguf")));
    return config_from_gguf(file.metadata, file.checkpoint);
  }
  // HF → GGUF → HF.
  Json there_and_back(std::string_view text) {
    auto keys = config_to_gguf(canonical(text));
    EXPECT_TRUE(keys.ok()) << keys.error().message;
    auto back = config(*keys, {{"lm_head.weight", quant::find_format("F32"), {1}}});
    EXPECT_TRUE(back.ok()) << back.error().message;
    return *back;
  }
  TempDir dir_;
};

// Equal whatever the order of keys.
bool same(const Json& a, const Json& b) { return nlohmann::json(a) == nlohmann::json(b); }

void expect_contains(const Json& all, const Json& part) {
  for (const auto& [key, value] : part.items()) {
    ASSERT_TRUE(all.contains(key)) << key;
    EXPECT_TRUE(same(all[key], value)) << key << " " << all[key] << " " << value;
  }
}

TEST_F(GgufConfig, DeepseekV3ThereAndBack) {
  const std::string text = R"({
    "model_type": "deepseek_v3", "hidden_size": 64, "num_hidden_layers": 3,
    "num_nextn_predict_layers": 1, "num_attention_heads": 4, "intermediate_size": 96,
    "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "vocab_size": 512, "q_lora_rank": 24, "kv_lora_rank": 32, "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8, "v_head_dim": 16, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "n_shared_experts": 1, "moe_intermediate_size": 32, "routed_scaling_factor": 2.5,
    "norm_topk_prob": true, "n_group": 4, "topk_group": 2, "first_k_dense_replace": 1,
    "scoring_func": "sigmoid", "tie_word_embeddings": false,
    "rope_scaling": {"type": "yarn", "rope_type": "yarn", "factor": 40.0,
      "original_max_position_embeddings": 4096, "beta_fast": 32.0, "beta_slow": 1.0,
      "mscale": 0.707, "mscale_all_dim": 0.707}})";
  const Json back = there_and_back(text);
  expect_contains(back, parsed(text));
  EXPECT_EQ(back["topk_method"], "noaux_tc");
  EXPECT_EQ(back["num_key_value_heads"], 4);
}

TEST_F(GgufConfig, Qwen3MoeThereAndBack) {
  const std::string text = R"({
    "model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24, "intermediate_size": 96,
    "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
    "vocab_size": 512, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    "norm_topk_prob": true, "tie_word_embeddings": false})";
  expect_contains(there_and_back(text), parsed(text));
}

GgufKeyValues v3_keys(bool with_groups) {
  const char* text = R"({
    "model_type": "deepseek_v3", "hidden_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "intermediate_size": 96, "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6, "vocab_size": 512, "kv_lora_rank": 32, "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8, "v_head_dim": 16, "n_routed_experts": 256, "num_experts_per_tok": 8,
    "moe_intermediate_size": 32, "scoring_func": "sigmoid"})";
  Json config = parsed(text);
  if (with_groups) config["n_group"] = config["topk_group"] = 1;
  return config_to_gguf(config).value();
}

TEST_F(GgufConfig, FilesFromBeforeTheGroupKeys) {
  Json config = this->config(v3_keys(false)).value();
  EXPECT_EQ(config["n_group"], 8);
  EXPECT_EQ(config["topk_group"], 4);
  EXPECT_TRUE(config["q_lora_rank"].is_null());
  config = this->config(v3_keys(true)).value();
  EXPECT_EQ(config["n_group"], 1);
}

GgufKeyValues llama_keys() {
  GgufKeyValues keys;
  keys.add_string("general.architecture", "llama");
  keys.add_u32("llama.block_count", 2);
  keys.add_u32("llama.context_length", 128);
  keys.add_u32("llama.embedding_length", 64);
  keys.add_u32("llama.attention.head_count", 4);
  keys.add_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  return keys;
}

TEST_F(GgufConfig, Llama) {
  const auto* f32 = quant::find_format("F32");
  GgufKeyValues keys = llama_keys();
  keys.add_u32("tokenizer.ggml.eos_token_id", 2);
  keys.add_u32("tokenizer.ggml.eot_token_id", 7);
  const Json config = this->config(keys, {{"rope_freqs.weight", f32, {4}}}).value();
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["rope_interleaved"], true);
  EXPECT_EQ(config["num_key_value_heads"], 4);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["rope_theta"], 10000.0);
  EXPECT_THAT(config["eos_token_id"].get<std::vector<int>>(), ElementsAre(2, 7));
  EXPECT_THAT(config["rope_frequency_factors"].get<std::vector<float>>(), ElementsAre(8, 8, 8, 8));
}

// The layer that a file has left out of V4's prediction module still has its ratio there.
TEST_F(GgufConfig, DeepseekV4WithAndWithoutItsModule) {
  Json v4 = parsed(R"({"model_type": "deepseek_v4", "vocab_size": 96, "hidden_size": 64,
    "num_hidden_layers": 3, "num_nextn_predict_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 1, "head_dim": 24, "qk_rope_head_dim": 8, "q_lora_rank": 40,
    "o_groups": 2, "o_lora_rank": 12, "sliding_window": 7, "compress_ratios": [0, 4, 128, 0],
    "compress_rope_theta": 40000.0, "index_n_heads": 3, "index_head_dim": 20, "index_topk": 5,
    "hc_mult": 4, "hc_sinkhorn_iters": 5, "hc_eps": 0.5, "n_routed_experts": 8,
    "num_experts_per_tok": 3, "moe_intermediate_size": 32, "n_shared_experts": 1,
    "num_hash_layers": 1, "swiglu_limit": 2.0, "routed_scaling_factor": 1.5,
    "norm_topk_prob": true, "scoring_func": "sqrtsoftplus", "topk_method": "noaux_tc",
    "rope_theta": 10000.0, "rms_norm_eps": 0.25, "max_position_embeddings": 512})");
  expect_contains(there_and_back(v4.dump()), v4);
  v4["num_nextn_predict_layers"] = 0;
  EXPECT_EQ(there_and_back(v4.dump())["compress_ratios"], Json({0, 4, 128}));
  v4["compress_ratios"] = {0, 4};
  EXPECT_THAT(config_to_gguf(v4).error().message, HasSubstr("compress_ratios: expected"));
}

TEST_F(GgufConfig, Refusals) {
  GgufKeyValues keys;
  EXPECT_THAT(config(keys).error().message,
              HasSubstr("key \"general.architecture\" is missing, expected a string"));
  keys.add_string("general.architecture", "mamba");
  EXPECT_THAT(config(keys).error().message, HasSubstr("architecture \"mamba\" is not one that"));
  keys = {};
  keys.add_string("general.architecture", "llama");
  EXPECT_THAT(config(keys).error().message, HasSubstr("key \"llama.embedding_length\" is missing"));
  keys.add_f32("llama.embedding_length", 64);
  EXPECT_THAT(config(keys).error().message,
              HasSubstr("key \"llama.embedding_length\": expected an integer, found f32"));
  keys = llama_keys();
  keys.add_u32("llama.expert_count", 8);
  EXPECT_THAT(config(keys).error().message, HasSubstr("with 8 experts"));
  keys = llama_keys();
  keys.add_u32("llama.nextn_predict_layers", 2);
  EXPECT_THAT(config(keys).error().message, HasSubstr("2 of 2 blocks"));
  keys = llama_keys();
  keys.add_string("llama.rope.scaling.type", "longrope");
  keys.add_f32("llama.rope.scaling.factor", 2);
  EXPECT_THAT(config(keys).error().message, HasSubstr("rope scaling \"longrope\""));
  keys = llama_keys();
  keys.add_u32("llama.attention.key_length", 32);
  keys.add_u32("llama.attention.value_length", 16);
  EXPECT_THAT(config(keys).error().message, HasSubstr("key_length 32 and value_length 16 differ"));
  EXPECT_THAT(config_to_gguf(parsed(R"({"model_type": "gpt2"})")).error().message,
              HasSubstr("model_type \"gpt2\""));
}

// Key by key, what a GGUF file gives is what the config.json it was made from says.
TEST(GgufConfigGoldens, SameAsConfigJson) {
  const std::string shared = testing::shared_folder();
  if (shared.empty()) GTEST_SKIP() << "no shared reference files here";
  // Not in GGUF, or in GGUF only.
  const std::vector<std::string> extra = {
      "attention_bias",          "rope_interleaved", "rope_scaling",
      "rope_frequency_factors",  "head_dim",         "moe_layer_freq",
      "num_nextn_predict_layers"};
  int count = 0;
  for (const auto& item : std::filesystem::recursive_directory_iterator(shared + "/goldens")) {
    if (item.path().extension() != ".gguf") continue;
    GgufFile file = read_gguf(item.path().string()).value();
    const std::string architecture(file.metadata.get_string("general.architecture").value());
    ASSERT_TRUE(file.checkpoint
                    .rename([&](std::string_view name) {
                      return tensor_name_from_gguf(architecture, name);
                    })
                    .ok());
    for (const FileTensor& tensor : file.checkpoint.tensors()) {
      EXPECT_EQ(tensor_name_to_gguf(architecture, tensor.name), tensor.source_name);
    }
    const auto config = config_from_gguf(file.metadata, file.checkpoint);
    ASSERT_TRUE(config.ok()) << config.error().message;
    const Json expected =
        read_hf_config(Folder::on_disk(item.path().parent_path().string() + "/hf").value()).value();
    for (const auto& [key, value] : config->items()) {
      const bool both = expected.contains(key);
      if (!both) {
        EXPECT_THAT(extra, ::testing::Contains(key)) << item.path();
      }
      // Llama's scaling is a tensor in GGUF.
      if (!both || (key == "rope_scaling" && architecture == "llama")) continue;
      EXPECT_TRUE(same(value, expected[key])) << item.path() << " " << key << " " << value;
    }
    ++count;
  }
  EXPECT_GE(count, 18);
}

// Every tensor of a GGUF file under its Hugging Face name has the shape that the checkpoint has.
TEST(GgufConfigGoldens, SameShapesAsSafetensors) {
  const std::string shared = testing::shared_folder();
  if (shared.empty()) GTEST_SKIP() << "no shared reference files here";
  for (const char* model : {"llama", "qwen2", "qwen3", "qwen3moe", "deepseek-v3"}) {
    const std::string base = fmt::format("{}/goldens/{}/", shared, model);
    GgufFile file = read_gguf(base + "model-f32.gguf").value();
    const std::string architecture(file.metadata.get_string("general.architecture").value());
    ASSERT_TRUE(file.checkpoint
                    .rename([&](std::string_view name) {
                      return tensor_name_from_gguf(architecture, name);
                    })
                    .ok());
    const Checkpoint hf = read_safetensors_folder(Folder::on_disk(base + "hf").value()).value();
    int num_same = 0;
    for (const FileTensor& tensor : file.checkpoint.tensors()) {
      if (tensor.name == "rope_freqs.weight" || tensor.name.find("_b_proj") != std::string::npos ||
          tensor.name.find("experts.") != std::string::npos) {
        continue;
      }
      const FileTensor* other = hf.find(tensor.name);
      ASSERT_NE(other, nullptr) << tensor.name;
      EXPECT_EQ(other->shape, tensor.shape) << tensor.name;
      ++num_same;
    }
    EXPECT_GT(num_same, 20) << model;
  }
}

}  // namespace
}  // namespace ferry::disk
