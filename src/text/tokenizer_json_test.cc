// tokenizer.json: what each stage does to the ids, and how wrong or unknown files are refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/quote_name.h"
#include "text/tokenizer.h"
#include "text/tokenizer_testing.h"

namespace ferry::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Tokenizer must_load(const Json& json, std::string_view config = "") {
  auto tokenizer = load(json, config);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return std::move(tokenizer).value();
}

std::string json_refusal(const Json& json, std::string_view config = "") {
  auto tokenizer = load(json, config);
  return tokenizer.ok() ? "accepted" : tokenizer.error().message;
}

TEST(TokenizerJson, MergesAsStringsOrPairs) {
  Json json = tiny_tokenizer({{"h", "e"}, {" ", "he"}});
  EXPECT_THAT(must_load(json).encode("he he"), ElementsAre(256, 257));
  json["model"]["merges"] = Json::array({Json::array({"h", "e"}), Json::array({"Ġ", "he"})});
  EXPECT_THAT(must_load(json).encode("he he"), ElementsAre(256, 257));
}

TEST(TokenizerJson, IgnoreMergesTakesWholePieces) {
  Json json = tiny_tokenizer();
  json["model"]["vocab"]["abc"] = 256;
  EXPECT_THAT(must_load(json).encode("abc"), ElementsAre('a', 'b', 'c'));
  json["model"]["ignore_merges"] = true;
  EXPECT_THAT(must_load(json).encode("abc"), ElementsAre(256));
}

TEST(TokenizerJson, AddedTokensAndParseSpecial) {
  Json json = tiny_tokenizer();
  json["added_tokens"] = {added_token(256, "<s>", true), added_token(257, "<think>", false)};
  const Tokenizer tokenizer = must_load(json);
  EXPECT_THAT(tokenizer.encode("a<s><think>"), ElementsAre('a', 256, 257));
  EXPECT_THAT(tokenizer.encode("<s><think>", {.parse_special = false}),
              ElementsAre('<', 's', '>', 257));
  EXPECT_TRUE(tokenizer.is_special(256));
  EXPECT_FALSE(tokenizer.is_special(257));
  EXPECT_EQ(tokenizer.token_id("<think>"), 257);
  EXPECT_EQ(tokenizer.token_id("a"), 'a');
  EXPECT_EQ(tokenizer.token_id("ab"), std::nullopt);
  EXPECT_EQ(tokenizer.token_bytes(257), "<think>");
  EXPECT_EQ(tokenizer.token_bytes(-1), "");
  EXPECT_EQ(tokenizer.token_bytes(9999), "");
  EXPECT_EQ(tokenizer.vocab_size(), 258);
  const std::vector<int32_t> ids = {256, 'h', 'i', 257};
  EXPECT_EQ(tokenizer.decode(ids, true), "hi<think>");
  EXPECT_EQ(tokenizer.decode(ids, false), "<s>hi<think>");
}

TEST(TokenizerJson, NormalizedTokensMatchAfterTheNormalizer) {
  Json json = tiny_tokenizer();
  json["normalizer"] = {{"type", "NFC"}};
  Json token = added_token(256, "e\u0301!", false);
  token["normalized"] = true;
  json["added_tokens"] = {token, added_token(257, "o\u0301", false)};
  const Tokenizer tokenizer = must_load(json);
  EXPECT_THAT(tokenizer.encode("é!"), ElementsAre(256));
  EXPECT_THAT(tokenizer.encode("e\u0301!"), ElementsAre(256));
  EXPECT_THAT(tokenizer.encode("o\u0301"), ElementsAre(257));
  EXPECT_THAT(tokenizer.encode("ó"), ElementsAre(0xC3, 0xB3));
  EXPECT_THAT(tokenizer.encode("u\u0301"), ElementsAre(0xC3, 0xBA));
}

TEST(TokenizerJson, SplitDigitsAndByteLevel) {
  Json json = tiny_tokenizer({{"1", "2"}, {"a", "b"}});
  Json byte_level = json["pre_tokenizer"];
  json["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers",
                            {{{"type", "Digits"}, {"individual_digits", true}},
                             {{"type", "Split"},
                              {"pattern", {{"String", "a"}}},
                              {"behavior", "Isolated"},
                              {"invert", false}},
                             byte_level}}};
  EXPECT_THAT(must_load(json).encode("12ab"), ElementsAre('1', '2', 'a', 'b'));
  json["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false;
  EXPECT_THAT(must_load(json).encode("12"), ElementsAre(256));
}

TEST(TokenizerJson, AddSpecialFollowsTemplateOrFlags) {
  Json json = tiny_tokenizer();
  json["added_tokens"] = {added_token(256, "<s>", true), added_token(257, "</s>", true)};
  const std::string config =
      R"({"add_bos_token": true, "bos_token": {"content": "<s>"}, "eos_token": "</s>"})";
  const Tokenizer flagged = must_load(json, config);
  EXPECT_THAT(flagged.encode("a", {.add_special = true}), ElementsAre(256, 'a'));
  EXPECT_THAT(flagged.encode("a"), ElementsAre('a'));
  EXPECT_EQ(flagged.bos_id(), 256);
  EXPECT_EQ(flagged.eos_id(), 257);
  EXPECT_TRUE(flagged.add_bos());

  json["post_processor"] = {{"type", "Sequence"},
                            {"processors",
                             {{{"type", "ByteLevel"}},
                              {{"type", "TemplateProcessing"},
                               {"single",
                                {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
                                 {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                                 {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}}}},
                               {"special_tokens",
                                {{"<s>", {{"id", "<s>"}, {"ids", {256}}}},
                                 {"</s>", {{"id", "</s>"}, {"ids", {257}}}}}}}}}};
  const Tokenizer templated = must_load(json, config);
  EXPECT_THAT(templated.encode("a", {.add_special = true}), ElementsAre(256, 'a', 257));
  EXPECT_EQ(must_load(json).bos_id(), 256);
}

TEST(TokenizerJson, InvalidUtf8IsReadAsReplacement) {
  const Tokenizer tokenizer = must_load(tiny_tokenizer());
  EXPECT_THAT(tokenizer.encode("a\xFF"), ElementsAre('a', 0xEF, 0xBF, 0xBD));
  const std::vector<int32_t> broken = {0xE2, 0x82, 'x'};
  EXPECT_EQ(tokenizer.decode(broken, false), "\uFFFDx");
}

TEST(TokenizerJson, RefusesUnknownConstructsByName) {
  const Json good = tiny_tokenizer({{"a", "b"}});
  const auto with = [&](std::string_view pointer, Json value) {
    Json json = good;
    json[Json::json_pointer(std::string(pointer))] = std::move(value);
    return json_refusal(json);
  };
  EXPECT_THAT(with("/model/type", "Unigram"), HasSubstr("model: type \"Unigram\""));
  EXPECT_THAT(with("/model/byte_fallback", true), HasSubstr("byte_fallback"));
  EXPECT_THAT(with("/model/dropout", 0.1), HasSubstr("dropout"));
  EXPECT_THAT(with("/model/continuing_subword_prefix", "##"), HasSubstr("continuing_subword"));
  EXPECT_THAT(with("/model/merges/0", "a zz"), HasSubstr("merge 0: \"zz\""));
  EXPECT_THAT(with("/model/merges/0", "b a"), HasSubstr("make no token"));
  EXPECT_THAT(with("/model/merges/0", 7), HasSubstr("merges"));
  EXPECT_THAT(with("/model/vocab/x", 'y'), HasSubstr("given twice"));
  EXPECT_THAT(with("/model/vocab/x", -1), HasSubstr("token id -1"));
  EXPECT_THAT(with("/model/vocab/x", 1 << 30), HasSubstr("token id 1073741824"));
  EXPECT_THAT(with("/model/vocab/x", "1"), HasSubstr("expected integers"));
  EXPECT_THAT(with("/normalizer", {{"type", "Lowercase"}}), HasSubstr("normalizer: Lowercase"));
  EXPECT_THAT(with("/pre_tokenizer", {{"type", "Metaspace"}}), HasSubstr("Metaspace"));
  EXPECT_THAT(with("/pre_tokenizer", nullptr), HasSubstr("ByteLevel"));
  EXPECT_THAT(with("/decoder", {{"type", "WordPiece"}}), HasSubstr("decoder: WordPiece"));
  EXPECT_THAT(with("/decoder", nullptr), HasSubstr("decoder"));
  EXPECT_THAT(with("/post_processor", {{"type", "BertProcessing"}}), HasSubstr("BertProcessing"));
  EXPECT_THAT(with("/added_tokens", {added_token('a', "<s>", true)}), HasSubstr("given twice"));
  for (const std::string& said :
       {with("/model/type", "a\nb"), with("/model/end_of_word_suffix", "a\nb"),
        with("/normalizer", {{"type", "a\nb"}}), with("/model/merges/0", "a\n"),
        with("/model/merges/0", std::string(79, 'a') + "é b")}) {
    EXPECT_NE(said, "accepted");
    EXPECT_TRUE(is_one_line(said)) << said;
  }
  EXPECT_THAT(Tokenizer::from_json("[", "").error().message,
              HasSubstr("tokenizer.json: not valid"));
  EXPECT_THAT(json_refusal(good, R"({"add_bos_token": true})"),
              HasSubstr("tokenizer_config.json: add_bos_token"));
}

TEST(TokenizerJson, RefusesAVocabularyThatLacksAByte) {
  Json json = tiny_tokenizer();
  json["model"]["vocab"].erase("A");
  EXPECT_THAT(json_refusal(json), HasSubstr("0x41"));
  Json unused = tiny_tokenizer();
  unused["model"]["vocab"].erase("ÿ");  // 0xff is in no UTF-8 text
  EXPECT_EQ(json_refusal(unused), "accepted");
}

TEST(TokenizerJson, NamesTheSplitThatFails) {
  Json json = tiny_tokenizer();
  json["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", "(a)\\1"}}}, {"behavior", "Isolated"}}}}};
  EXPECT_THAT(json_refusal(json),
              HasSubstr("pre_tokenizer: pretokenizers[0]: Split: regex at byte 3"));
  Json deep = {{"type", "NFC"}};
  for (int i = 0; i < 20; ++i) {
    deep = Json{{"type", "Sequence"}, {"normalizers", Json::array({deep})}};
  }
  json["normalizer"] = deep;
  EXPECT_THAT(json_refusal(json), HasSubstr("nested deeper"));
}

}  // namespace
}  // namespace ferry::text
