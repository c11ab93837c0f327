#include "base/quote_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ferry {
namespace {

using testing::HasSubstr;

TEST(QuoteName, OneLineOfUtf8) {
  EXPECT_EQ(quote_name("a\nb\x7f"), "\"a\\x0ab\\x7f\"");
  EXPECT_EQ(quote_name("\xc2\x85\xc2\x9b\xc2\xa0"), "\"\\xc2\\x85\\xc2\\x9b\xc2\xa0\"");
  EXPECT_EQ(quote_name("é｜😀"), "\"é｜😀\"");
  EXPECT_EQ(quote_name("\xc3"), "\"\\xc3\"");
  EXPECT_EQ(quote_name("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"");
  EXPECT_TRUE(is_utf8(quote_name(std::string(500, '\xf0'))));
  EXPECT_THAT(quote_name(std::string(500, 'a')), HasSubstr("…\""));
  EXPECT_TRUE(is_utf8("aé｜😀"));
  for (const char* bad : {"\x80", "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80",
                          "\xf5\x80\x80\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xff"}) {
    EXPECT_FALSE(is_utf8(bad));
  }
}

TEST(QuoteName, CutBetweenCharacters) {
  EXPECT_EQ(one_line("abcd", 4), "abcd");
  EXPECT_EQ(one_line("abcde", 4), "abcd…");
  EXPECT_EQ(one_line("abcéé", 4), "abcé…");
  EXPECT_EQ(quote_name("abc\xc3", 4), "\"abc\\xc3\"");
  EXPECT_EQ(one_line(""), "");
  EXPECT_TRUE(is_one_line(std::string(5000, 'a') + "é"));
  for (const char* text : {"a\nb", "\xc3", "\x7f", "\xc2\x85"}) EXPECT_FALSE(is_one_line(text));
}

}  // namespace
}  // namespace ferry
