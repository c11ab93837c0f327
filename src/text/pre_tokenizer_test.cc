// Split behaviours, inversion, the order of splits and the prefix space.
#include "text/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ferry::text {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> cut_words(const PreTokenizer& pre_tokenizer, std::string_view text) {
  PreTokenizerScratch scratch;
  std::vector<std::string_view> pieces;
  pre_tokenizer.cut(text, scratch, pieces);
  return {pieces.begin(), pieces.end()};
}

std::vector<std::string> split(std::string_view pattern, SplitBehavior behavior, bool invert,
                               std::string_view text) {
  auto regex = Regex::from_oniguruma(pattern);
  EXPECT_TRUE(regex.ok());
  PreTokenizer pre_tokenizer;
  pre_tokenizer.add_split({std::move(regex).value(), behavior, invert});
  return cut_words(pre_tokenizer, text);
}

TEST(PreTokenizer, Behaviors) {
  const std::string text = "the-final--countdown-";
  const auto run = [&](SplitBehavior b) { return split("-", b, false, text); };
  EXPECT_THAT(run(SplitBehavior::kIsolated),
              ElementsAre("the", "-", "final", "-", "-", "countdown", "-"));
  EXPECT_THAT(run(SplitBehavior::kRemoved), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(run(SplitBehavior::kMergedWithPrevious),
              ElementsAre("the-", "final-", "-", "countdown-"));
  EXPECT_THAT(run(SplitBehavior::kMergedWithNext),
              ElementsAre("the", "-final", "-", "-countdown", "-"));
  EXPECT_THAT(run(SplitBehavior::kContiguous),
              ElementsAre("the", "-", "final", "--", "countdown", "-"));
}

TEST(PreTokenizer, Inverted) {
  EXPECT_THAT(split("\\w+", SplitBehavior::kRemoved, true, "a, bc!"), ElementsAre("a", "bc"));
  EXPECT_THAT(split("\\w+", SplitBehavior::kIsolated, true, "a, bc!"),
              ElementsAre("a", ", ", "bc", "!"));
  EXPECT_THAT(split("\\w+", SplitBehavior::kMergedWithPrevious, true, "a, bc!"),
              ElementsAre("a, ", "bc!"));
}

TEST(PreTokenizer, EmptyTextAndEmptyMatches) {
  EXPECT_THAT(split("-", SplitBehavior::kIsolated, false, ""), IsEmpty());
  EXPECT_THAT(split("x*", SplitBehavior::kIsolated, false, "axxb"), ElementsAre("a", "xx", "b"));
}

TEST(PreTokenizer, SplitsApplyInOrderToEveryPiece) {
  PreTokenizer pre_tokenizer;
  for (const char* pattern : {"\\p{N}", "\\s+(?!\\S)|\\s"}) {
    auto regex = Regex::from_oniguruma(pattern);
    ASSERT_TRUE(regex.ok());
    pre_tokenizer.add_split({std::move(regex).value()});
  }
  // The spaces before the digit end their piece, so they stay together.
  EXPECT_THAT(cut_words(pre_tokenizer, "a  1  b"), ElementsAre("a", "  ", "1", " ", " ", "b"));
}

TEST(PreTokenizer, ByteLevel) {
  PreTokenizer words;
  ASSERT_TRUE(words.set_byte_level(false, true).ok());
  EXPECT_THAT(cut_words(words, "I've  3 cats!\n"),
              ElementsAre("I", "'ve", " ", " 3", " cats", "!", "\n"));
  PreTokenizer prefixed;
  ASSERT_TRUE(prefixed.set_byte_level(true, true).ok());
  EXPECT_THAT(cut_words(prefixed, "a b"), ElementsAre(" a", " b"));
  EXPECT_THAT(cut_words(prefixed, " a"), ElementsAre(" a"));
}

}  // namespace
}  // namespace ferry::text
