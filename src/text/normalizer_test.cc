// Normal forms on known strings, and the order of long runs of marks.
#include "text/normalizer.h"

#include <gtest/gtest.h>

namespace ferry::text {
namespace {

TEST(Normalizer, KnownForms) {
  EXPECT_EQ(normalize("plain", NormalForm::kNfc), "plain");
  EXPECT_EQ(normalize("e\u0301", NormalForm::kNfc), "é");
  EXPECT_EQ(normalize("é", NormalForm::kNfd), "e\u0301");
  EXPECT_EQ(normalize("\u1112\u1161\u11AB", NormalForm::kNfc), "한");
  EXPECT_EQ(normalize("\u212B", NormalForm::kNfc), "Å");
  EXPECT_EQ(normalize("\uFF5C\uFB01", NormalForm::kNfc), "\uFF5C\uFB01");
  EXPECT_EQ(normalize("\uFF5C\uFB01", NormalForm::kNfkc), "|fi");
  EXPECT_EQ(normalize("\u0958", NormalForm::kNfc), "\u0915\u093C");  // a composition exclusion
  EXPECT_EQ(normalize("a\u0315\u0300\u05AE\u0062", NormalForm::kNfc), "\u00E0\u05AE\u0315\u0062");
  EXPECT_EQ(normalize(std::string("a\0é", 4), NormalForm::kNfd).size(), 5u);
}

TEST(Normalizer, AMillionMarksTakeNoQuadraticTime) {
  std::string text = "a";
  std::string sorted = "a";
  const int half = 250'000;
  for (int i = 0; i < half; ++i) text += "\u0308";  // class 230
  for (int i = 0; i < half; ++i) text += "\u0323";  // class 220: belongs before
  for (int i = 0; i < half; ++i) sorted += "\u0323";
  for (int i = 0; i < half; ++i) sorted += "\u0308";
  EXPECT_EQ(normalize(text, NormalForm::kNfd), sorted);
}

}  // namespace
}  // namespace ferry::text
