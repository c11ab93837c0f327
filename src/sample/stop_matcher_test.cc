// The matcher against a search over the whole text, for every way to cut it.
#include "sample/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace ferry::sample {
namespace {

struct Expected {
  std::string text;
  bool matched = false;
  std::string stop;
};

Expected search(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    Expected best;
    for (const std::string& stop : stops) {
      if (stop.size() > end || text.compare(end - stop.size(), stop.size(), stop) != 0) continue;
      if (!best.matched || stop.size() > best.stop.size()) {
        best = {text.substr(0, end - stop.size()), true, stop};
      }
    }
    if (best.matched) return best;
  }
  return {text, false, ""};
}

void expect_cut(const std::vector<std::string>& pieces, const std::vector<std::string>& stops,
                const Expected& expected) {
  StopMatcher matcher(stops);
  std::string out;
  for (const std::string& piece : pieces) {
    out += matcher.push(piece);
    // Nothing that is not output in the end ever gets out.
    ASSERT_EQ(expected.text.compare(0, out.size(), out), 0) << out;
  }
  out += matcher.finish();
  EXPECT_EQ(out, expected.text);
  EXPECT_EQ(matcher.matched(), expected.matched);
  if (expected.matched) {
    EXPECT_EQ(matcher.matched_string(), expected.stop);
  }
}

void expect_every_cut(const std::string& text, const std::vector<std::string>& stops) {
  const Expected expected = search(text, stops);
  for (size_t i = 0; i <= text.size(); ++i) {
    for (size_t j = i; j <= text.size(); ++j) {
      expect_cut({text.substr(0, i), text.substr(i, j - i), text.substr(j)}, stops, expected);
    }
  }
  std::vector<std::string> bytes;
  for (char c : text) bytes.emplace_back(1, c);
  expect_cut(bytes, stops, expected);
}

TEST(StopMatcher, EveryCutOfKnownCases) {
  expect_every_cut("hello world", {"world"});
  expect_every_cut("hello world", {"o w", "world"});
  expect_every_cut("aaaaab", {"aab"});
  expect_every_cut("abcabcabd", {"abcabd"});
  expect_every_cut("xabcd", {"abcd", "bc"});     // the one that ends first
  expect_every_cut("xabc", {"c", "abc", "bc"});  // of those, the longest
  expect_every_cut("nothing here", {"zebra", "here!"});
  expect_every_cut("日本語の文。終わり", {"。終", "語x"});
  expect_every_cut("", {"a"});
}

TEST(StopMatcher, RandomTextsOverASmallAlphabet) {
  std::mt19937 random(7);
  const std::vector<std::string> letters = {"a", "b", "é", "😀"};
  const auto text_of = [&](int length) {
    std::string text;
    for (int i = 0; i < length; ++i) text += letters[random() % letters.size()];
    return text;
  };
  for (int round = 0; round < 400; ++round) {
    std::vector<std::string> stops;
    for (uint32_t i = 0; i < 1 + random() % 3; ++i) stops.push_back(text_of(1 + random() % 4));
    expect_every_cut(text_of(random() % 12), stops);
  }
}

TEST(StopMatcher, PiecesOfWholeCharactersStayWhole) {
  StopMatcher matcher({"é!"});
  EXPECT_EQ(matcher.push("caf"), "caf");
  EXPECT_EQ(matcher.push("é"), "");
  EXPECT_EQ(matcher.push("s"), "és");
  EXPECT_EQ(matcher.push("é!x"), "");
  EXPECT_TRUE(matcher.matched());
  EXPECT_EQ(matcher.push("more"), "");
}

TEST(StopMatcher, WithoutStopsNothingIsHeld) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("abc"), "abc");
  EXPECT_EQ(matcher.finish(), "");
}

}  // namespace
}  // namespace ferry::sample
