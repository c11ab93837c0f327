// The dialect of tokenizer.json through PCRE2: what matches where, what is refused, what is
// bounded.
#include "text/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/regex_dialect.h"

namespace ferry::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> matches(std::string_view pattern, std::string_view text) {
  auto regex = Regex::from_oniguruma(pattern);
  EXPECT_TRUE(regex.ok()) << pattern << ": " << regex.error().message;
  if (!regex.ok()) return {"no regex"};
  RegexScratch scratch;
  std::vector<RegexMatch> found;
  regex->find_all(text, scratch, found);
  std::vector<std::string> out;
  for (const RegexMatch& match : found) {
    out.emplace_back(text.substr(match.begin, match.end - match.begin));
  }
  return out;
}

std::string regex_refusal(std::string_view pattern) {
  auto regex = Regex::from_oniguruma(pattern);
  return regex.ok() ? "accepted" : regex.error().message;
}

TEST(Regex, Shorthands) {
  EXPECT_THAT(matches("\\s+", "a \u0085\u00A0\u3000b\u180Ec"), ElementsAre(" \u0085\u00A0\u3000"));
  EXPECT_THAT(matches("\\S+", "a\u180Eb c"), ElementsAre("a\u180Eb", "c"));
  EXPECT_THAT(matches("[\\S]+", "a\u180Eb c"), ElementsAre("a\u180Eb", "c"));
  EXPECT_THAT(matches("\\w+", "né_5e\u0301 中-x"), ElementsAre("né_5e\u0301", "中", "x"));
  EXPECT_THAT(matches("[\\W]+", "a -b"), ElementsAre(" -"));
  EXPECT_THAT(matches("[^\\W]+", "a -b"), ElementsAre("a", "b"));
  EXPECT_THAT(matches("\\h+", "xyz 0fA g"), ElementsAre("0fA"));
  EXPECT_THAT(matches("\\d+", "12٣²"), ElementsAre("12٣"));
  EXPECT_THAT(matches("\\bcat\\b", "cat concat cat\u0301 cat"), ElementsAre("cat", "cat"));
  EXPECT_THAT(matches("\\v", "a\vb\nc"), ElementsAre("\v"));
  EXPECT_THAT(matches("\\x41\\x{1F600}\\u00e9", "A😀é"), ElementsAre("A😀é"));
}

TEST(Regex, PropertiesAndScripts) {
  EXPECT_THAT(matches("\\p{L}+", "ab1é中"), ElementsAre("ab", "é中"));
  EXPECT_THAT(matches("\\p{^L}+", "ab1é"), ElementsAre("1"));
  EXPECT_THAT(matches("\\P{Letter}+", "ab1é"), ElementsAre("1"));
  EXPECT_THAT(matches("\\p{Uppercase_Letter}", "aB"), ElementsAre("B"));
  EXPECT_THAT(matches("\\p{Han}+", "漢字かな"), ElementsAre("漢字"));
  EXPECT_THAT(matches("\\p{Han}", "\u3001"), IsEmpty());  // Han only by Script_Extensions
  EXPECT_THAT(regex_refusal("\\p{Klingon}"), HasSubstr("unknown property"));
  EXPECT_THAT(regex_refusal("\\pL"), HasSubstr("without braces"));
}

TEST(Regex, ClassesNestAndIntersect) {
  EXPECT_THAT(matches("[a-z&&[^aeiou]]+", "education"), ElementsAre("d", "c", "t", "n"));
  EXPECT_THAT(matches("[\\p{L}&&[^\\p{Han}]]+", "ab漢字cd"), ElementsAre("ab", "cd"));
  EXPECT_THAT(matches("[^\\p{L}&&[^\\p{Han}]]+", "ab漢1cd"), ElementsAre("漢1"));
  EXPECT_THAT(matches("[a[bc]d]+", "xabcdx"), ElementsAre("abcd"));
  EXPECT_THAT(matches("[a[^\\n]]+", "a\nb"), ElementsAre("a", "b"));
  EXPECT_THAT(matches("[\\s-x]+", "a -x"), ElementsAre(" -x"));
  EXPECT_THAT(matches("[]a]+", "x]a"), ElementsAre("]a"));
  EXPECT_THAT(matches("[+--]+", "a+,-."), ElementsAre("+,-"));
  EXPECT_THAT(regex_refusal("[z-a]"), HasSubstr("backwards"));
  EXPECT_THAT(regex_refusal("[[:alpha:]]"), HasSubstr("POSIX bracket"));
  EXPECT_THAT(regex_refusal("[a"), HasSubstr("missing"));
  EXPECT_THAT(regex_refusal(std::string(20, '[') + "a" + std::string(20, ']')),
              HasSubstr("too deep"));
}

TEST(Regex, OptionsAndAnchors) {
  EXPECT_THAT(matches("(?i:'s|'re)", "'S 'rE 'x"), ElementsAre("'S", "'rE"));
  EXPECT_THAT(matches("a(?i)b|c", "aB aC ac b"), ElementsAre("aB", "aC", "ac"));
  EXPECT_THAT(matches("(?:x(?i)y)z", "xYz xyZ"), ElementsAre("xYz"));
  EXPECT_THAT(matches("^.", "ab\ncd"), ElementsAre("a", "c"));
  EXPECT_THAT(matches(".$", "ab\ncd"), ElementsAre("b", "d"));
  EXPECT_THAT(matches("(?m:.)", "\n"), ElementsAre("\n"));
  EXPECT_THAT(matches("\\s+$", "a  b \n  c  "), ElementsAre(" ", "  "));
  EXPECT_THAT(matches("\\s+$", "\n"), ElementsAre("\n"));
}

TEST(Regex, QuantifiersAndBraces) {
  EXPECT_THAT(matches("a{2}", "aaaaa"), ElementsAre("aa", "aa"));
  EXPECT_THAT(matches("ba{,2}", "baaa"), ElementsAre("baa"));
  EXPECT_THAT(matches("a{1,2}?", "aaa"), ElementsAre("a", "a", "a"));
  EXPECT_THAT(matches("a{x}", "a{x}"), ElementsAre("a{x}"));
  EXPECT_THAT(matches("x*", "axb"), ElementsAre("", "x", ""));
  EXPECT_THAT(regex_refusal("a**"), HasSubstr("quantifier on a quantifier"));
  EXPECT_THAT(regex_refusal("a{2}+"), HasSubstr("quantifier on a quantifier"));
  EXPECT_THAT(regex_refusal("*a"), HasSubstr("follows nothing"));
}

TEST(Regex, RefusesByName) {
  EXPECT_THAT(regex_refusal("(a)\\1"), HasSubstr("\"\\1\""));
  EXPECT_THAT(regex_refusal("\\R"), HasSubstr("\"\\R\""));
  EXPECT_THAT(regex_refusal("(?<name>a)"), HasSubstr("group"));
  EXPECT_THAT(regex_refusal("(?#note)"), HasSubstr("group"));
  EXPECT_THAT(regex_refusal("(*ACCEPT)"), HasSubstr("follows nothing"));
  EXPECT_THAT(regex_refusal("(a"), HasSubstr("\")\" is missing"));
  EXPECT_THAT(regex_refusal("a)"), HasSubstr("without"));
  EXPECT_THAT(regex_refusal("a\\"), HasSubstr("backslash"));
  EXPECT_THAT(regex_refusal("(?:(?:a{999}){999}){999}"), HasSubstr("too large"));
  EXPECT_THAT(regex_refusal("\xFF"), HasSubstr("UTF-8"));
  EXPECT_THAT(regex_refusal(std::string(200, '(')), HasSubstr("too deep"));
}

TEST(Regex, LiteralsMatchThemselves) {
  auto regex = Regex::from_literal("a.[b] é");
  ASSERT_TRUE(regex.ok());
  RegexScratch scratch;
  std::vector<RegexMatch> found;
  regex->find_all("xa.[b] éaab] é", scratch, found);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].begin, 1u);
}

TEST(Regex, HostileExpressionsEnd) {
  // Exponential backtracking: the limit ends it, and what is left counts as unmatched.
  EXPECT_THAT(matches("(?:a+)+b", std::string(60, 'a')), IsEmpty());
  // Nested groups over a long text need a larger stack than the machine's.
  const std::string text(200'000, 'a');
  EXPECT_THAT(matches("(?:a|b)*c|(?:(?=a)[ab])+", text), ElementsAre(text));
}

TEST(Regex, TrailingSpaceIsLinearInALongRun) {
  const std::string text = std::string(1 << 20, ' ') + "x";
  EXPECT_THAT(matches("\\s+$", text), IsEmpty());
}

}  // namespace
}  // namespace ferry::text
