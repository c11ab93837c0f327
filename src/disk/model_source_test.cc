// open_model: every way to name a model, and what is said when there is none.
#include "disk/model_source.h"

#include <gmock/gmock.h>

#include "disk/aliases.h"
#include "disk/gguf_writer.h"
#include "disk/safetensors_writer.h"
#include "disk/testing.h"

namespace ferry::disk {
namespace {

using testing::as_bytes;
using ::testing::HasSubstr;
using testing::TempDir;
using testing::write_bytes;

constexpr const char* kConfig = R"({"model_type": "llama", "rope_scaling": null})";
constexpr const char* kCommit = "0123456789012345678901234567890123456789";

void write_hf_model(const std::string& folder) {
  std::filesystem::create_directories(folder);
  write_bytes(folder + "/config.json", kConfig);
  write_bytes(folder + "/tokenizer.json", "{\"version\": \"1.0\"}");
  write_bytes(folder + "/tokenizer_config.json", R"({"chat_template": "hello"})");
  write_bytes(folder + "/generation_config.json", R"({"temperature": 0.6})");
  auto writer = SafetensorsWriter::create(folder + "/model.safetensors",
                                          {{"model.norm.weight", quant::find_format("F32"), {1}}});
  ASSERT_TRUE(writer.ok() && writer->write(as_bytes("abcd")).ok() && writer->finish().ok());
}

void write_gguf_model(const std::string& path, bool with_tensors = true) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  GgufKeyValues keys;
  keys.add_string("general.architecture", "llama");
  if (with_tensors) {
    keys.add_u32("llama.block_count", 2);
    keys.add_u32("llama.context_length", 128);
    keys.add_u32("llama.embedding_length", 1);
    keys.add_u32("llama.attention.head_count", 1);
    keys.add_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  }
  keys.add_string("tokenizer.chat_template.tools", "with tools");
  keys.add_string("tokenizer.chat_template", "plain");
  std::vector<TensorDecl> tensors;
  if (with_tensors) tensors.push_back({"output_norm.weight", quant::find_format("F32"), {1}});
  auto writer = GgufWriter::create(path, keys, tensors);
  ASSERT_TRUE(writer.ok());
  if (with_tensors) {
    ASSERT_TRUE(writer->write(as_bytes("abcd")).ok());
  }
  ASSERT_TRUE(writer->finish().ok());
}

// A hub cache and an alias file of its own, so that nothing of the machine's is seen.
class ModelSourceTest : public ::testing::Test {
 protected:
  ModelSourceTest() {
    options_.hub_cache = HubCache(dir_.file("hub"));
    options_.alias_file = dir_.file("aliases.json");
  }
  Result<ModelSource> open(std::string_view argument) { return open_model(argument, options_); }
  std::string error(std::string_view argument) {
    auto source = open(argument);
    return source.ok() ? "no error" : source.error().message;
  }
  std::string snapshot(const std::string& repo) {
    const std::string folder = options_.hub_cache->repo_folder(repo);
    std::filesystem::create_directories(folder + "/refs");
    write_bytes(folder + "/refs/main", kCommit);
    return folder + "/snapshots/" + kCommit;
  }
  TempDir dir_;
  OpenOptions options_;
};

TEST_F(ModelSourceTest, Directory) {
  write_hf_model(dir_.file("m"));
  for (const char* argument : {"m", "m/", "m/model.safetensors", "m/config.json"}) {
    auto source = open(dir_.file(argument));
    ASSERT_TRUE(source.ok()) << source.error().message;
    EXPECT_EQ(source->kind, SourceKind::kHuggingFace);
    EXPECT_EQ(source->name, "m");
    EXPECT_EQ(source->config["model_type"], "llama");
    EXPECT_NE(source->checkpoint.find("model.norm.weight"), nullptr);
    EXPECT_THAT(source->tokenizer_json, HasSubstr("version"));
    EXPECT_EQ(source->generation_config["temperature"], 0.6);
    ASSERT_EQ(source->chat_templates.size(), 1u);
    EXPECT_EQ(source->chat_templates[0].second, "hello");
    EXPECT_FALSE(source->gguf.has_value());
  }
}

TEST_F(ModelSourceTest, ChatTemplates) {
  write_hf_model(dir_.file("m"));
  const auto set = [&](std::string_view config) {
    write_bytes(dir_.file("m/tokenizer_config.json"), config);
  };
  set(R"({"chat_template": [{"name": "rag", "template": "r"},
                             {"name": "default", "template": "d"}]})");
  auto source = open(dir_.file("m"));
  ASSERT_EQ(source->chat_templates.size(), 2u);
  EXPECT_EQ(source->chat_templates[0].second, "d");
  set(R"({"chat_template": 3})");
  EXPECT_THAT(error(dir_.file("m")), HasSubstr("tokenizer_config.json: chat_template: expected"));
  set(R"({"chat_template": [{"name": "rag"}]})");
  EXPECT_THAT(error(dir_.file("m")), HasSubstr("chat_template: template: expected a string"));
  set(R"({"chat_template": [1]})");
  EXPECT_THAT(error(dir_.file("m")), HasSubstr("expected objects in the array"));
  set("{}");
  write_bytes(dir_.file("m/chat_template.json"), R"({"chat_template": "j"})");
  EXPECT_EQ(open(dir_.file("m"))->chat_templates[0].second, "j");
  write_bytes(dir_.file("m/chat_template.jinja"), "file");
  EXPECT_EQ(open(dir_.file("m"))->chat_templates[0].second, "file");
}

TEST_F(ModelSourceTest, Gguf) {
  write_gguf_model(dir_.file("g/small-Q4_K_M.gguf"));
  for (const char* argument : {"g/small-Q4_K_M.gguf", "g"}) {
    auto source = open(dir_.file(argument));
    ASSERT_TRUE(source.ok()) << source.error().message;
    EXPECT_EQ(source->kind, SourceKind::kGguf);
    EXPECT_EQ(source->name, "small-Q4_K_M");
    EXPECT_EQ(source->config["model_type"], "llama");
    EXPECT_NE(source->checkpoint.find("model.norm.weight"), nullptr);
    ASSERT_EQ(source->chat_templates.size(), 2u);
    EXPECT_EQ(source->chat_templates[0].second, "plain");
    EXPECT_EQ(source->chat_templates[1].first, "tools");
  }
  std::filesystem::rename(dir_.file("g/small-Q4_K_M.gguf"), dir_.file("g/blob"));
  EXPECT_EQ(error(dir_.file("g/blob")), "no error");
}

TEST_F(ModelSourceTest, SeveralGgufFiles) {
  write_gguf_model(dir_.file("g/a-Q4_K_M.gguf"));
  write_gguf_model(dir_.file("g/sub/a-Q8_0.gguf"));
  EXPECT_THAT(error(dir_.file("g")), HasSubstr("2 GGUF files fit, name one of them: a-Q4_K_M.gguf, "
                                               "sub/a-Q8_0.gguf"));
}

TEST_F(ModelSourceTest, VocabularyOnly) {
  write_gguf_model(dir_.file("vocab.gguf"), false);
  EXPECT_EQ(error(dir_.file("vocab.gguf")), "no error");
  std::filesystem::create_directory(dir_.file("t"));
  write_bytes(dir_.file("t/tokenizer.json"), "{}");
  EXPECT_THAT(error(dir_.file("t")), HasSubstr("not a model"));
  options_.tokenizer_only = true;
  EXPECT_EQ(error(dir_.file("t")), "no error");
}

TEST_F(ModelSourceTest, HubCache) {
  write_hf_model(snapshot("org/Model-1.5B"));
  auto source = open("org/Model-1.5B");
  ASSERT_TRUE(source.ok()) << source.error().message;
  EXPECT_EQ(source->name, "Model-1.5B");
  std::filesystem::remove(options_.hub_cache->repo_folder("org/Model-1.5B") + "/refs/main");
  EXPECT_EQ(error("org/Model-1.5B"), "no error");
  options_.revision = "v2";
  EXPECT_THAT(error("org/Model-1.5B"), HasSubstr("no snapshot of revision \"v2\" among 1 there"));
  options_.revision = kCommit;
  EXPECT_EQ(error("org/Model-1.5B"), "no error");
  options_.revision = "../../x";
  EXPECT_THAT(error("org/Model-1.5B"), HasSubstr("no snapshot of revision"));
}

TEST_F(ModelSourceTest, HubCacheGguf) {
  const std::string folder = snapshot("org/m-GGUF");
  write_gguf_model(folder + "/m-Q4_K_M.gguf");
  write_gguf_model(folder + "/m-Q8_0.gguf");
  EXPECT_EQ(open("org/m-GGUF:Q4_K_M")->name, "m-Q4_K_M");
  EXPECT_EQ(open("org/m-GGUF:q8_0")->name, "m-Q8_0");
  EXPECT_EQ(open("org/m-GGUF:m-Q8_0.gguf")->name, "m-Q8_0");
  EXPECT_THAT(error("org/m-GGUF"), HasSubstr("2 GGUF files fit"));
  EXPECT_THAT(error("org/m-GGUF:Q2_K"),
              HasSubstr("no GGUF file fits \"Q2_K\", there are: m-Q4_K_M"));
  write_hf_model(snapshot("org/plain"));
  const auto models = options_.hub_cache->list();
  ASSERT_EQ(models.size(), 3u);
  EXPECT_EQ(models[0].name, "org/m-GGUF:m-Q4_K_M.gguf");
  EXPECT_EQ(models[0].format, "gguf");
  EXPECT_GT(models[0].bytes, 100);
  EXPECT_EQ(models[2].name, "org/plain");
  EXPECT_EQ(models[2].format, "safetensors");
}

TEST_F(ModelSourceTest, Aliases) {
  write_hf_model(snapshot("deepseek-ai/DeepSeek-V2-Lite-Chat"));
  EXPECT_EQ(open("deepseek-v2-lite")->name, "DeepSeek-V2-Lite-Chat");
  EXPECT_EQ(open("DeepSeek-V2-Lite")->name, "DeepSeek-V2-Lite-Chat");
  write_hf_model(dir_.file("own"));
  write_bytes(
      dir_.file("aliases.json"),
      fmt::format(R"({{"mine": "{}", "lite": "deepseek-v2-lite", "bad": 3}})", dir_.file("own")));
  EXPECT_EQ(open("mine")->name, "own");
  EXPECT_EQ(open("lite")->name, "DeepSeek-V2-Lite-Chat");
  EXPECT_THAT(error("bad"), HasSubstr("aliases.json: alias \"bad\": expected the name or path"));
  EXPECT_THAT(error("deepseek-r1"),
              HasSubstr("\"deepseek-r1\" (alias of \"deepseek-ai/DeepSeek-R1\""));
  write_bytes(dir_.file("aliases.json"), "{");
  EXPECT_THAT(error("mine"), HasSubstr("aliases.json: not valid JSON"));
  for (const Alias& alias : built_in_aliases()) EXPECT_TRUE(is_repo_name(alias.target));
}

TEST_F(ModelSourceTest, NothingFits) {
  EXPECT_THAT(error("./none"), HasSubstr("./none: no such file or directory"));
  EXPECT_THAT(error("none.gguf"), HasSubstr("none.gguf: no such file or directory"));
  EXPECT_THAT(error("none"), HasSubstr("built-in aliases nor in"));
  EXPECT_THAT(error("org/none"), HasSubstr("models--org--none: no such directory"));
  EXPECT_THAT(error("org/none"), HasSubstr("`ferry pull org/none` would fetch it"));
  EXPECT_THAT(error("org/../etc"), HasSubstr("no such model"));
  EXPECT_THAT(error(""), HasSubstr("expected the path or name of a model"));
  EXPECT_THAT(error(std::string_view("a\0b", 3)), HasSubstr("found \"a\\x00b\""));
}

TEST_F(ModelSourceTest, NotAModel) {
  std::filesystem::create_directory(dir_.file("d"));
  EXPECT_THAT(error(dir_.file("d")),
              HasSubstr("not a model: no config.json and no *.gguf there; the "
                        "directory is empty"));
  write_bytes(dir_.file("d/config.json"), kConfig);
  write_bytes(dir_.file("d/pytorch_model.bin"), "x");
  EXPECT_THAT(error(dir_.file("d")), HasSubstr("no *.safetensors (PyTorch files are not read"));
  write_bytes(dir_.file("d/text"), "x");
  EXPECT_THAT(error(dir_.file("d/text")), HasSubstr("expected a directory, a .gguf or a .safe"));
  write_bytes(dir_.file("d/model.safetensors"), "x");
  EXPECT_THAT(error(dir_.file("d")), HasSubstr("model.safetensors: 1 bytes, too short"));
}

TEST_F(ModelSourceTest, FromMemory) {
  write_hf_model(dir_.file("m"));
  const std::string config = testing::read_bytes(dir_.file("m/config.json"));
  const std::string weights = testing::read_bytes(dir_.file("m/model.safetensors"));
  auto source = open_model_from_memory(
      "built-in", {{"config.json", as_bytes(config)}, {"model.safetensors", as_bytes(weights)}});
  ASSERT_TRUE(source.ok()) << source.error().message;
  EXPECT_EQ(source->name, "built-in");
  EXPECT_EQ(source->checkpoint.where(source->checkpoint.tensors()[0]),
            "built-in/model.safetensors: tensor \"model.norm.weight\"");
  EXPECT_THAT(open_model_from_memory("empty", {}).error().message, HasSubstr("not a model"));
}

TEST(RepoNames, Which) {
  for (const char* name : {"a/b", "deepseek-ai/DeepSeek-V2.5", "o_1/n"})
    EXPECT_TRUE(is_repo_name(name));
  for (const char* name :
       {"", "a", "/b", "a/", "a/b/c", "../b", "a/..", "a/-b", "a b/c", "a/b..c"}) {
    EXPECT_FALSE(is_repo_name(name)) << name;
  }
}

TEST(ModelSourceGoldens, AllOpen) {
  const std::string shared = testing::shared_folder();
  if (shared.empty()) GTEST_SKIP() << "no shared reference files here";
  int count = 0;
  for (const auto& item : std::filesystem::directory_iterator(shared + "/goldens")) {
    if (!item.is_directory() || item.path().filename() == "quants") continue;
    for (const auto& inner : std::filesystem::directory_iterator(item.path())) {
      if (!inner.is_directory() && inner.path().extension() != ".gguf") continue;
      auto source = open_model(inner.path().string());
      ASSERT_TRUE(source.ok()) << source.error().message;
      const bool v4 = source->config["model_type"] == "deepseek_v4";
      EXPECT_NE(source->checkpoint.find(v4 ? "norm.weight" : "model.norm.weight"), nullptr);
      ++count;
    }
  }
  EXPECT_GT(count, 20);
  EXPECT_TRUE(open_model(shared + "/demo-model").ok());
  EXPECT_TRUE(open_model(shared + "/tokenizers/ggml-vocab-deepseek-llm.gguf").ok());
}

}  // namespace
}  // namespace ferry::disk
