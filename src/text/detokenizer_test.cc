// Streamed text is decode()'s text, in whole characters, for any sequence of bytes.
#include "text/detokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "base/quote_name.h"
#include "text/tokenizer_testing.h"

namespace ferry::text {
namespace {

Tokenizer bytes_tokenizer() {
  Json json = tiny_tokenizer();
  json["added_tokens"] = {added_token(256, "<s>", true), added_token(257, "<t>", false)};
  return load(json).value();
}

TEST(Detokenizer, HoldsHalfACharacter) {
  Detokenizer stream(bytes_tokenizer(), false);
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push(0x9F), "");
  EXPECT_EQ(stream.push(0x98), "");
  EXPECT_EQ(stream.push(0x80), "😀");
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.push('a'),
            "\uFFFD"
            "a");
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Detokenizer, SpecialTokensAreSkippedOnRequest) {
  Detokenizer skip(bytes_tokenizer(), true);
  EXPECT_EQ(skip.push(0xC3), "");
  EXPECT_EQ(skip.push(256), "");
  EXPECT_EQ(skip.push(0xA9), "é");
  EXPECT_EQ(skip.push(257), "<t>");
  Detokenizer keep(bytes_tokenizer(), false);
  EXPECT_EQ(keep.push(256), "<s>");
  EXPECT_EQ(keep.push(99999), "");
}

TEST(Detokenizer, AgreesWithDecodeOnRandomBytes) {
  const Tokenizer tokenizer = bytes_tokenizer();
  std::mt19937 random(5);
  constexpr int kLikely[] = {'a', 0x80, 0xBF, 0xC3, 0xE2, 0x82, 0xF0, 0x9F, 0xED, 0xF4, 0xFF, 256};
  for (int round = 0; round < 3000; ++round) {
    const bool skip_special = round % 2 != 0;
    std::vector<int32_t> ids(random() % 12);
    for (int32_t& id : ids) id = kLikely[random() % std::size(kLikely)];
    Detokenizer stream(tokenizer, skip_special);
    std::string text;
    for (int32_t id : ids) {
      const std::string part = stream.push(id);
      EXPECT_TRUE(is_utf8(part));
      text += part;
    }
    text += stream.finish();
    ASSERT_EQ(text, tokenizer.decode(ids, skip_special));
  }
}

}  // namespace
}  // namespace ferry::text
