#include "text/reasoning_splitter.h"

#include <gtest/gtest.h>

namespace ferry::text {
namespace {

struct Case {
  const char* what;
  bool starts_in_reasoning;
  std::string input;
  std::string reasoning;
  std::string content;
};

const Case kCases[] = {
    {"plain text", false, "The answer is 4.", "", "The answer is 4."},
    {"opened by the model", false, "<think>2+2</think>4", "2+2", "4"},
    {"opened by the prompt", true, "2+2</think>4", "2+2", "4"},
    {"newlines next to the markers", false, "<think>\n2+2\n\n</think>\n\n4\n", "2+2", "4\n"},
    {"newlines inside stay", true, "a\n\nb\n</think>c\n\nd", "a\n\nb", "c\n\nd"},
    {"never closed", true, "2+2 is\n", "2+2 is\n", ""},
    {"closed at once", true, "</think>4", "", "4"},
    {"closed without opening", false, "</think>4", "", "4"},
    {"a marker later is text", false, "4 <think>x</think>", "", "4 <think>x</think>"},
    {"a second block is text", false, "<think>a</think>b<think>c</think>", "a",
     "b<think>c</think>"},
    {"almost a marker", false, "<thinking>x", "", "<thinking>x"},
    {"almost a closing one", true, "a</thin b</think>c", "a</thin b", "c"},
    {"an unfinished marker is text", true, "a</thin", "a</thin", ""},
    {"an unfinished opening is text", false, "<thi", "", "<thi"},
    {"nothing", false, "", "", ""},
    {"other scripts", true, "思考</think>答案", "思考", "答案"},
};

void run(const Case& c, const std::vector<std::string>& parts) {
  ReasoningSplitter splitter(c.starts_in_reasoning);
  std::string reasoning, content;
  auto take = [&](const std::vector<ReasoningSplitter::Piece>& pieces) {
    for (const auto& piece : pieces) {
      ASSERT_FALSE(piece.text.empty());
      ASSERT_TRUE(!piece.reasoning || content.empty()) << "reasoning after content";
      (piece.reasoning ? reasoning : content) += piece.text;
    }
  };
  for (const std::string& part : parts) take(splitter.push(part));
  take(splitter.finish());
  EXPECT_EQ(reasoning, c.reasoning) << c.what;
  EXPECT_EQ(content, c.content) << c.what;
}

TEST(ReasoningSplitter, Whole) {
  for (const Case& c : kCases) run(c, {c.input});
}

TEST(ReasoningSplitter, EverySplitIntoThree) {
  for (const Case& c : kCases) {
    for (size_t i = 0; i <= c.input.size(); ++i) {
      for (size_t j = i; j <= c.input.size(); ++j) {
        run(c, {c.input.substr(0, i), c.input.substr(i, j - i), c.input.substr(j)});
      }
    }
  }
}

TEST(ReasoningSplitter, ByteByByte) {
  for (const Case& c : kCases) {
    std::vector<std::string> parts;
    for (char byte : c.input) parts.emplace_back(1, byte);
    run(c, parts);
  }
}

TEST(ReasoningSplitter, TextIsNotHeldBackLongerThanNeeded) {
  ReasoningSplitter splitter(true);
  auto pieces = splitter.push("thinking");
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].text, "thinking");
  EXPECT_TRUE(splitter.push("</").empty());
  pieces = splitter.push("b>");
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].text, "</b>");
  EXPECT_TRUE(splitter.in_reasoning());
}

}  // namespace
}  // namespace ferry::text
