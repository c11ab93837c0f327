// GGUF vocabularies: the named pre-tokenizers, token types, and refusals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/tokenizer.h"
#include "text/utf8.h"

namespace ferry::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Ids 0–255 are the bytes, then one token per merge (raw bytes), then <s> as control and <t> as
// user defined.
GgufVocab small_vocab(std::string pre, std::vector<std::pair<std::string, std::string>> merges) {
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = std::move(pre);
  for (int byte = 0; byte < 256; ++byte) {
    vocab.tokens.push_back(bytes_to_alphabet(std::string(1, static_cast<char>(byte))));
  }
  for (const auto& [left, right] : merges) {
    vocab.tokens.push_back(bytes_to_alphabet(left + right));
    vocab.merges.push_back(bytes_to_alphabet(left) + " " + bytes_to_alphabet(right));
  }
  vocab.token_types.assign(vocab.tokens.size(), 1);
  vocab.tokens.push_back("<s>");
  vocab.token_types.push_back(3);
  vocab.tokens.push_back("<t>");
  vocab.token_types.push_back(4);
  return vocab;
}

std::vector<int32_t> encode_with(const GgufVocab& vocab, std::string_view text) {
  auto tokenizer = Tokenizer::from_gguf(vocab);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return tokenizer.ok() ? tokenizer->encode(text) : std::vector<int32_t>{-1};
}

std::string refusal(const GgufVocab& vocab) {
  auto tokenizer = Tokenizer::from_gguf(vocab);
  return tokenizer.ok() ? "accepted" : tokenizer.error().message;
}

TEST(GgufVocab, DigitsDifferBetweenTheNames) {
  const std::vector<std::pair<std::string, std::string>> merges = {{"1", "2"}, {"12", "3"}};
  for (const char* one_by_one : {"deepseek-llm", "deepseek-coder", "qwen2", "deepseek-r1-qwen"}) {
    EXPECT_THAT(encode_with(small_vocab(one_by_one, merges), "123"), ElementsAre('1', '2', '3'));
  }
  for (const char* together : {"deepseek-v3", "llama-bpe", "gpt-2"}) {
    EXPECT_THAT(encode_with(small_vocab(together, merges), "123"), ElementsAre(257));
  }
  // Groups of three, so the merges of the fourth digit start anew.
  EXPECT_THAT(encode_with(small_vocab("deepseek-v3", merges), "12312"), ElementsAre(257, 256));
}

TEST(GgufVocab, LettersOfDeepseekLlm) {
  // Greek is in its list of letters, so a space joins the word; Hebrew is not.
  const GgufVocab greek = small_vocab("deepseek-llm", {{" ", "\xCE"}});
  EXPECT_THAT(encode_with(greek, " α"), ElementsAre(256, 0xB1));
  const GgufVocab bang = small_vocab("deepseek-llm", {{"a", "!"}, {" ", "!"}});
  EXPECT_THAT(encode_with(bang, "a! !"), ElementsAre('a', '!', 257));
  // A trailing run of spaces is a piece; before a letter the last space leaves it.
  const GgufVocab spaces = small_vocab("deepseek-llm", {{" ", " "}});
  EXPECT_THAT(encode_with(spaces, "a  "), ElementsAre('a', 256));
  EXPECT_THAT(encode_with(spaces, "a  b"), ElementsAre('a', ' ', ' ', 'b'));
}

TEST(GgufVocab, Qwen2Normalizes) {
  EXPECT_THAT(encode_with(small_vocab("qwen2", {}), "e\u0301"), ElementsAre(0xC3, 0xA9));
  EXPECT_THAT(encode_with(small_vocab("llama-bpe", {}), "e\u0301"), ElementsAre('e', 0xCC, 0x81));
}

TEST(GgufVocab, MarkersAndBos) {
  GgufVocab vocab = small_vocab("deepseek-v3", {});
  vocab.bos_id = 256;
  vocab.eos_id = 257;
  vocab.add_bos = true;
  auto tokenizer = Tokenizer::from_gguf(vocab);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_THAT(tokenizer->encode("a<s><t>", {.add_special = true}), ElementsAre(256, 'a', 256, 257));
  EXPECT_EQ(tokenizer->bos_id(), 256);
  EXPECT_TRUE(tokenizer->is_special(257));  // the end of text is never part of one
  EXPECT_FALSE(tokenizer->is_special('a'));
  EXPECT_THAT(tokenizer->encode("<s>", {.parse_special = false}), ElementsAre('<', 's', '>'));
}

TEST(GgufVocab, Refusals) {
  GgufVocab vocab = small_vocab("default", {});
  EXPECT_THAT(refusal(vocab), HasSubstr("\"default\" is not known; known are deepseek-coder"));
  vocab.pre = "qwen2";
  vocab.model = "llama";
  EXPECT_THAT(refusal(vocab), HasSubstr("\"llama\""));
  vocab.model = "gpt2";
  vocab.bos_id = 9999;
  EXPECT_THAT(refusal(vocab), HasSubstr("bos_token_id: 9999"));
  vocab.bos_id.reset();
  vocab.add_bos = true;
  EXPECT_THAT(refusal(vocab), HasSubstr("no bos_token_id"));
  vocab.add_bos.reset();
  vocab.merges = {"a"};
  EXPECT_THAT(refusal(vocab), HasSubstr("merges: merge 0"));
  vocab.merges.clear();
  vocab.token_types.pop_back();
  EXPECT_THAT(refusal(vocab), HasSubstr("entries for"));
  vocab.token_types.push_back(77);
  EXPECT_THAT(refusal(vocab), HasSubstr("expected 1 to 6"));
}

}  // namespace
}  // namespace ferry::text
