// Which files are chosen, and which names are refused.
#include "cmd/hub_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ferry::cmd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::vector<HubFile> repository(std::initializer_list<const char*> paths) {
  std::vector<HubFile> files;
  for (const char* path : paths) files.push_back({path, 10, std::string(40, 'a')});
  return files;
}

std::vector<std::string> paths(const std::vector<HubFile>& files) {
  std::vector<std::string> out;
  for (const HubFile& file : files) out.push_back(file.path);
  return out;
}

TEST(HubChoice, TakesWhatAModelNeeds) {
  const auto choice = choose_files(
      repository({"README.md", "config.json", "generation_config.json", "tokenizer.json",
                  "tokenizer_config.json", "tokenizer.model", "chat_template.jinja",
                  "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                  "model.safetensors.index.json", "consolidated.safetensors", "pytorch_model.bin",
                  "onnx/model.safetensors", "modeling_x.py", "vocab.json"}),
      "");
  ASSERT_TRUE(choice.ok());
  EXPECT_THAT(paths(choice->files),
              ElementsAre("config.json", "generation_config.json", "tokenizer.json",
                          "tokenizer_config.json", "chat_template.jinja",
                          "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json"));
}

TEST(HubChoice, GgufIsNamedByAPartOfItsName) {
  const auto files =
      repository({"m-Q4_0.gguf", "m-Q4_0_8_8.gguf", "m-BF16.gguf", "m-F16.gguf",
                  "big/m-Q8_0-00001-of-00002.gguf", "big/m-Q8_0-00002-of-00002.gguf", "README.md"});
  EXPECT_THAT(paths(choose_files(files, "q4_0")->files), ElementsAre("m-Q4_0.gguf"));
  EXPECT_THAT(paths(choose_files(files, "F16")->files), ElementsAre("m-F16.gguf"));
  EXPECT_THAT(paths(choose_files(files, "M-BF16")->files), ElementsAre("m-BF16.gguf"));
  EXPECT_THAT(paths(choose_files(files, "Q8")->files), SizeIs(2));
  EXPECT_EQ(choose_files(files, "big/m-Q8_0-00002-of-00002.gguf")->gguf,
            "big/m-Q8_0-00001-of-00002.gguf");
  EXPECT_THAT(paths(choose_files(files, "README.md")->files), ElementsAre("README.md"));

  const auto several = choose_files(files, "q4");
  ASSERT_TRUE(several.ok());
  EXPECT_THAT(several->files, SizeIs(0));
  EXPECT_THAT(several->candidates, SizeIs(2));
  const auto none = choose_files(files, "Q5");
  ASSERT_TRUE(none.ok());
  EXPECT_THAT(none->candidates, SizeIs(5));
  EXPECT_THAT(choose_files(files, "")->candidates, SizeIs(5));
}

TEST(HubChoice, SaysWhatIsMissing) {
  EXPECT_THAT(choose_files(repository({"m-00001-of-00003.gguf", "m-00003-of-00003.gguf"}), "")
                  .error()
                  .message,
              HasSubstr("2 of its 3 parts"));
  EXPECT_THAT(choose_files(repository({"config.json", "pytorch_model.bin"}), "").error().message,
              HasSubstr("no .safetensors and no .gguf"));
  EXPECT_THAT(choose_files(repository({"config.json"}), "x.gguf").error().message,
              HasSubstr("no file \"x.gguf\""));
}

TEST(HubApi, PathsThatLeaveTheFolderAreRefused) {
  for (const char* path : {"", "/etc/passwd", "..", "../x", "a/../../x", "a//b", "a/", "./a",
                           "a\nb", "a\x1b[2J", "\xff\xfe", "a/.."}) {
    EXPECT_FALSE(is_safe_path(path)) << path;
  }
  EXPECT_FALSE(is_safe_path(std::string("a\0b", 3)));
  EXPECT_FALSE(is_safe_path(std::string(256, 'a')));
  for (const char* path :
       {"config.json", "a/b/c.gguf", ".gitattributes", "..a", "a..b", "\xc3\xa9"}) {
    EXPECT_TRUE(is_safe_path(path)) << path;
  }
}

TEST(Http, OriginsAreSchemeHostAndPort) {
  EXPECT_EQ(origin_of("https://Hub.example/a?b"), "https://hub.example:443");
  EXPECT_EQ(origin_of("http://hub.example:8080"), "http://hub.example:8080");
  EXPECT_NE(origin_of("https://hub.example@evil.example/"), origin_of("https://hub.example/"));
  EXPECT_EQ(origin_of("file:///etc/passwd"), "");
  EXPECT_EQ(origin_of("hub.example"), "");
  EXPECT_EQ(percent_encode("a b/c%#?é", true), "a%20b/c%25%23%3F%C3%A9");
  EXPECT_EQ(percent_encode("refs/pr/1", false), "refs%2Fpr%2F1");
}

TEST(BlobHash, KnownDigests) {
  const std::string text = "hello\n";
  const std::span bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  BlobHash git(HashKind::kGitBlob, 6);
  git.add(bytes);
  EXPECT_EQ(git.hex(), "ce013625030ba8dba906f756967f9e9ca394464a");
  BlobHash sha(HashKind::kSha256, 6);
  sha.add(bytes.first(2));
  sha.add(bytes.subspan(2));
  EXPECT_EQ(sha.hex(), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
}

}  // namespace
}  // namespace ferry::cmd
