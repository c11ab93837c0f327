// Leftmost, longest, strips, single words, and special tokens switched off.
#include "text/added_tokens.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ferry::text {
namespace {

using ::testing::ElementsAre;

// "text" for ordinary text, "[3:text]" for token 3.
std::vector<std::string> cut(const AddedTokenMatcher& matcher, std::string_view text,
                             bool match_special = true) {
  std::vector<AddedTokenMatcher::Segment> segments;
  matcher.cut(text, match_special, segments);
  std::vector<std::string> out;
  for (const auto& segment : segments) {
    out.push_back(segment.id < 0 ? std::string(segment.text)
                                 : fmt::format("[{}:{}]", segment.id, segment.text));
  }
  return out;
}

AddedToken token(int32_t id, std::string content) {
  AddedToken out;
  out.id = id;
  out.content = std::move(content);
  return out;
}

TEST(AddedTokens, LeftmostThenLongest) {
  AddedTokenMatcher matcher;
  for (auto& t : {token(1, "<a"), token(2, "<ab>"), token(3, "b>c"), token(4, "｜x｜")}) {
    matcher.add(t.content, t);
  }
  EXPECT_THAT(cut(matcher, "x<ab>c<a<ab｜x｜"),
              ElementsAre("x", "[2:<ab>]", "c", "[1:<a]", "[1:<a]", "b", "[4:｜x｜]"));
  EXPECT_THAT(cut(matcher, ""), ElementsAre());
}

TEST(AddedTokens, SpecialOnesCanBeOrdinaryText) {
  AddedTokenMatcher matcher;
  AddedToken special = token(1, "<s>");
  special.special = true;
  matcher.add("<s>", special);
  matcher.add("<t>", token(2, "<t>"));
  EXPECT_THAT(cut(matcher, "<s>a<t>", false), ElementsAre("<s>a", "[2:<t>]"));
}

TEST(AddedTokens, StripsTakeTheSpaceBeside) {
  AddedTokenMatcher matcher;
  AddedToken both = token(1, "<m>");
  both.lstrip = both.rstrip = true;
  matcher.add("<m>", both);
  EXPECT_THAT(cut(matcher, "a \u3000<m> \n b"), ElementsAre("a", "[1: \u3000<m> \n ]", "b"));
  EXPECT_THAT(cut(matcher, "<m>  <m>"), ElementsAre("[1:<m>  ]", "[1:<m>]"));
}

TEST(AddedTokens, SingleWordsTouchNoWord) {
  AddedTokenMatcher matcher;
  AddedToken word = token(1, "cat");
  word.single_word = true;
  matcher.add("cat", word);
  EXPECT_THAT(cut(matcher, "cat cats écat cat"), ElementsAre("[1:cat]", " cats écat ", "[1:cat]"));
}

}  // namespace
}  // namespace ferry::text
