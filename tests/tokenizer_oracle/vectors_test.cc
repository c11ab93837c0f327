// A published vocabulary in GGUF form against published ids (shared data; skipped without it).
//
// The .inp file holds texts separated by "\n__ggml_vocab_test__\n"; the .out file one line of ids
// for each.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "disk/gguf.h"
#include "text/tokenizer.h"

namespace ferry::text {
namespace {

std::string shared_folder() {
  const char* folder = std::getenv("FERRY_SHARED");
  return folder != nullptr ? folder : FERRY_SOURCE_DIR "/../shared";
}

std::string read_file(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

GgufVocab vocab_of(const disk::GgufMetadata& metadata) {
  GgufVocab vocab;
  vocab.model = metadata.get_string("tokenizer.ggml.model").value();
  vocab.pre = metadata.get_string("tokenizer.ggml.pre").value();
  const auto tokens = metadata.get_strings("tokenizer.ggml.tokens").value();
  vocab.tokens.assign(tokens.begin(), tokens.end());
  const auto merges = metadata.get_strings("tokenizer.ggml.merges").value();
  vocab.merges.assign(merges.begin(), merges.end());
  const auto types = metadata.get_ints("tokenizer.ggml.token_type").value();
  vocab.token_types.assign(types.begin(), types.end());
  vocab.bos_id = metadata.get_i64("tokenizer.ggml.bos_token_id").value();
  vocab.eos_id = metadata.get_i64("tokenizer.ggml.eos_token_id").value();
  return vocab;
}

TEST(TokenizerVectors, SharedDeepseekLlmVocabulary) {
  const std::string path = shared_folder() + "/tokenizers/ggml-vocab-deepseek-llm.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  auto file = disk::read_gguf(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  auto tokenizer = Tokenizer::from_gguf(vocab_of(file->metadata));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;

  const std::string separator = "\n__ggml_vocab_test__\n";
  const std::string texts = read_file(path + ".inp");
  std::istringstream lines(read_file(path + ".out"));
  int num_texts = 0;
  for (size_t begin = 0; begin < texts.size();) {
    size_t end = texts.find(separator, begin);
    if (end == std::string::npos) end = texts.size();
    const std::string text = texts.substr(begin, end - begin);
    std::string line;
    ASSERT_TRUE(std::getline(lines, line)) << "no ids for text " << num_texts;
    std::istringstream numbers(line);
    const std::vector<int32_t> expected{std::istream_iterator<int32_t>(numbers), {}};
    EXPECT_EQ(tokenizer->encode(text), expected) << "text " << num_texts << ": " << text;
    EXPECT_EQ(tokenizer->decode(expected, false), text);
    begin = end + separator.size();
    ++num_texts;
  }
  EXPECT_GT(num_texts, 40);
}

}  // namespace
}  // namespace ferry::text
