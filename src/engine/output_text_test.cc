// Tokens of the built-in model's vocabulary through the whole way to text.
#include "engine/output_text.h"

#include <gtest/gtest.h>

#include "disk/model_source.h"
#include "engine/model_text.h"

namespace ferry::engine {
namespace {

text::Tokenizer demo_tokenizer() {
  Result<disk::ModelSource> source =
      disk::open_model(FERRY_SOURCE_DIR "/demo", {.tokenizer_only = true});
  EXPECT_TRUE(source.ok());
  Result<text::Tokenizer> tokenizer = read_tokenizer(*source);
  EXPECT_TRUE(tokenizer.ok());
  return *tokenizer;
}

struct Out {
  std::string text;
  std::string reasoning;
  std::string stop;
  int pushed = 0;
};

Out run(const std::string& input, std::vector<std::string> stops, bool thinking, int min_tokens) {
  const text::Tokenizer tokenizer = demo_tokenizer();
  TokenText output(
      tokenizer, std::move(stops),
      {.splitter = text::ReasoningSplitter(thinking), .tool_calls = {}, .markers = {}});
  Out out;
  const auto take = [&](const OutputText::Piece& piece) {
    out.text += piece.text;
    out.reasoning += piece.reasoning;
  };
  for (int32_t id : tokenizer.encode(input)) {
    take(output.push(id, ++out.pushed >= min_tokens));
    if (!output.stop_string().empty()) break;
  }
  take(output.finish());
  out.stop = output.stop_string();
  return out;
}

TEST(TokenText, ReasoningAndAnswer) {
  const Out out = run("1 and 2, so 3.</think>The answer is 3. 日本 😀", {}, true, 0);
  EXPECT_EQ(out.reasoning, "1 and 2, so 3.");
  EXPECT_EQ(out.text, "The answer is 3. 日本 😀");
  const Out opened = run("<think>hm</think>yes", {}, false, 0);
  EXPECT_EQ(opened.reasoning, "hm");
  EXPECT_EQ(opened.text, "yes");
}

TEST(TokenText, StopStringsAlsoInReasoningAndInsideCharacters) {
  Out out = run("think of STOP it</think>x", {"f STOP"}, true, 0);
  EXPECT_EQ(out.reasoning, "think o");
  EXPECT_EQ(out.text, "");
  EXPECT_EQ(out.stop, "f STOP");
  out = run("ab 😀 cd", {"😀"}, false, 0);
  EXPECT_EQ(out.text, "ab ");
  EXPECT_EQ(out.stop, "😀");
  out = run("held back: 12", {"123"}, false, 0);  // never completed
  EXPECT_EQ(out.text, "held back: 12");
  EXPECT_EQ(out.stop, "");
}

TEST(TokenText, CallsOfToolsBehindReasoning) {
  const text::Tokenizer tokenizer = demo_tokenizer();
  TokenText output(tokenizer, {},
                   {.splitter = text::ReasoningSplitter(true),
                    .tool_calls = text::make_tool_call_parser(text::ToolFormat::kDeepSeekV31,
                                                              {.new_id = [] { return "id"; }}),
                    .markers = {}});
  OutputText::Piece all;
  const auto take = [&](OutputText::Piece piece) {
    all.text += piece.text;
    all.reasoning += piece.reasoning;
    for (ToolCallPiece& call : piece.tool_calls) {
      if (!call.name.empty()) all.tool_calls.push_back({call.index, call.id, call.name, {}});
      all.tool_calls.back().arguments += call.arguments;
    }
  };
  for (int32_t id : tokenizer.encode("hm</think>Sure.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"
                                     "f<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜>"
                                     "<｜tool▁calls▁end｜>")) {
    take(output.push(id, true));
  }
  take(output.finish());
  EXPECT_EQ(all.reasoning, "hm");
  EXPECT_EQ(all.text, "Sure.");
  ASSERT_EQ(all.tool_calls.size(), 1u);
  EXPECT_EQ(all.tool_calls[0].name, "f");
  EXPECT_EQ(all.tool_calls[0].arguments, "{\"a\": 1}");
  EXPECT_EQ(output.num_tool_calls(), 1);
}

TEST(TokenText, NoStopStringBeforeMinTokens) {
  const Out out = run("1 2 1 2 1 2", {"1"}, false, 3);
  EXPECT_EQ(out.stop, "1");
  EXPECT_EQ(out.text.substr(0, 1), "1");
  EXPECT_GE(out.pushed, 3);
}

}  // namespace
}  // namespace ferry::engine
