#include "engine/drafter.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace ferry::engine {
namespace {

using Tokens = std::vector<int32_t>;

Tokens found(const Tokens& tokens, int64_t min_match, int64_t count) {
  Tokens out;
  look_up(tokens, min_match, count, out);
  return out;
}

TEST(Drafter, FindsWhatFollowedTheSameEnding) {
  EXPECT_EQ(found({1, 2, 3, 4, 5, 9, 1, 2, 3}, 2, 3), (Tokens{4, 5, 9}));
  EXPECT_EQ(found({7, 3, 4, 8, 3, 5, 9, 3}, 1, 1), (Tokens{5}));  // the last of equals
  EXPECT_EQ(found({7, 3, 4, 8, 3, 5, 7, 3}, 1, 1), (Tokens{4}));  // the longest
  EXPECT_EQ(found({7, 3, 4, 8, 3, 5, 9, 3}, 2, 1), (Tokens{}));
  EXPECT_EQ(found({1, 2, 3}, 1, 4), (Tokens{}));
  EXPECT_EQ(found({1}, 1, 4), (Tokens{}));
  EXPECT_EQ(found({1, 2, 1, 2}, 2, 0), (Tokens{}));
}

TEST(Drafter, AGuessRunsIntoItself) {
  EXPECT_EQ(found({5, 5, 5}, 1, 4), (Tokens{5, 5, 5, 5}));
  EXPECT_EQ(found({8, 1, 2, 3, 1, 2, 3}, 2, 7), (Tokens{1, 2, 3, 1, 2, 3, 1}));
}

TEST(Drafter, LengthFollowsWhatWasRight) {
  DraftLength length(8, 0);
  EXPECT_EQ(length.next(), 8);
  length.judge(8, 3);
  EXPECT_EQ(length.next(), 4);
  length.judge(4, 2);
  EXPECT_EQ(length.next(), 4);
  length.judge(4, 4);
  length.judge(8, 8);
  EXPECT_EQ(length.next(), 8);  // the most there may be
  for (int64_t misses = 1; misses <= 40; ++misses) {
    length.judge(length.next(), 0);
    for (int64_t i = 0; i < std::min<int64_t>(misses, 16); ++i) EXPECT_EQ(length.next(), 0);
  }
  EXPECT_EQ(length.next(), 1);
  length.judge(0, 0);  // nothing was checked: nothing is learned
  length.judge(1, 1);
  EXPECT_EQ(length.next(), 2);
}

TEST(Drafter, PatienceForgivesMissesInARow) {
  DraftLength length(1, 2);
  for (int i = 0; i < 2; ++i) {
    length.judge(1, 0);
    EXPECT_EQ(length.next(), 1);
  }
  length.judge(1, 0);
  EXPECT_EQ(length.next(), 0);
  EXPECT_EQ(length.next(), 1);
  length.judge(1, 1);
  length.judge(1, 0);
  EXPECT_EQ(length.next(), 1);
}

TEST(Drafter, ComesBehindTheLastToken) {
  Drafter drafter({Speculation::kPromptLookup, 2, 1});
  const Tokens tokens{4, 5, 6, 4};
  EXPECT_EQ(drafter.look_up_next(tokens, drafter.num_wanted()), 2);
  EXPECT_EQ(Tokens(drafter.guessed().begin(), drafter.guessed().end()), (Tokens{4, 5, 6}));
  drafter.judge(2, 0);
  EXPECT_EQ(drafter.look_up_next(tokens, drafter.num_wanted()), 0);
}

}  // namespace
}  // namespace ferry::engine
