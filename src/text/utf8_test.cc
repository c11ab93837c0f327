// UTF-8 stepping, lossy replacement and the byte alphabet.
#include "text/utf8.h"

#include <gtest/gtest.h>

namespace ferry::text {
namespace {

TEST(Utf8, ReplacesEachMaximalInvalidSubpart) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(utf8_lossy("a\xFFz"), "a" + r + "z");
  EXPECT_EQ(utf8_lossy("\xC0\x80"), r + r);                  // overlong
  EXPECT_EQ(utf8_lossy("\xE2\x82z"), r + "z");               // cut short: one subpart
  EXPECT_EQ(utf8_lossy("\xED\xA0\x80"), r + r + r);          // a surrogate
  EXPECT_EQ(utf8_lossy("\xF0\x9F\x98"), r);                  // ends inside
  EXPECT_EQ(utf8_lossy("\xF4\x90\x80\x80"), r + r + r + r);  // above U+10FFFF
  EXPECT_EQ(utf8_lossy("\xE2\x82\xAC\xF0\x9F\x98\x80"), "€😀");
}

TEST(Utf8, EveryScalarValueSurvives) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(c, text);
    const Utf8Step step = utf8_step(text, 0);
    ASSERT_EQ(step.kind, Utf8Step::Kind::kValid);
    ASSERT_EQ(step.code_point, c);
    ASSERT_EQ(step.length, text.size());
  }
}

TEST(Utf8, TheByteAlphabetIsABijection) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::string spelled = bytes_to_alphabet(all);
  EXPECT_EQ(bytes_from_alphabet(spelled), all);
  EXPECT_EQ(bytes_to_alphabet(" \n\tA\xC3"), "ĠĊĉAÃ");
  EXPECT_EQ(bytes_from_alphabet("Ġa"), " a");
  EXPECT_EQ(bytes_from_alphabet(" a"), std::nullopt);  // a space is not in the alphabet
  EXPECT_EQ(bytes_from_alphabet("<｜>"), std::nullopt);
}

TEST(Utf8, WordCharacters) {
  for (char32_t c : {U'a', U'é', U'中', U'_', U'5', U'\u0301'}) EXPECT_TRUE(is_word_character(c));
  for (char32_t c : {U' ', U'-', U'。', U'😀'}) EXPECT_FALSE(is_word_character(c));
}

}  // namespace
}  // namespace ferry::text
