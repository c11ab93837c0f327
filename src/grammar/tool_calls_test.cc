// Calls of tools: what is a call, what is other text, and what is refused.
#include "grammar/testing.h"

namespace ferry::grammar {
namespace {

ConstraintText with_calls(bool required, bool parallel) {
  ToolCallText calls{.begin = "",
                     .before_name = "<use>\n{\"name\": \"",
                     .before_arguments = "\", \"arguments\": ",
                     .after_arguments = "}\n</use>",
                     .between = "\n",
                     .end = "",
                     .tools = {},
                     .required = required,
                     .parallel = parallel};
  calls.tools.push_back(
      {.name = "add",
       .parameters = R"({"type": "object", "properties": {"a": {"type": "integer"}},
                                           "required": ["a"]})",
       .strict = true});
  calls.tools.push_back({.name = "stop", .parameters = R"({"type": "object"})", .strict = false});
  ConstraintText text{.kind = ConstraintText::Kind::kText};
  text.calls = std::move(calls);
  return text;
}

constexpr const char* kAdd = "<use>\n{\"name\": \"add\", \"arguments\": {\"a\": 3}}\n</use>";
constexpr const char* kStop = "<use>\n{\"name\": \"stop\", \"arguments\": {}}\n</use>";

TEST(ToolCalls, TextIsFreeUntilACallBegins) {
  const GrammarRef grammar = compiled(with_calls(false, true));
  const std::string add = kAdd;
  EXPECT_TRUE(matches(grammar, ""));
  EXPECT_TRUE(matches(grammar, "Any < text > at all, <us e>."));
  EXPECT_TRUE(matches(grammar, "Let me see.\n" + add));
  EXPECT_TRUE(matches(grammar, add + "\n" + kStop));
  EXPECT_FALSE(matches(grammar, add + " and more"));
  EXPECT_FALSE(matches(grammar, "<use>"));
  EXPECT_FALSE(
      matches(grammar, "<use>\n{\"name\": \"add\", \"arguments\": {\"a\": \"3\"}}\n</use>"));
  EXPECT_FALSE(matches(grammar, "<use>\n{\"name\": \"sub\", \"arguments\": {\"a\": 3}}\n</use>"));
}

TEST(ToolCalls, RequiredMeansNothingElse) {
  const GrammarRef grammar = compiled(with_calls(true, false));
  EXPECT_TRUE(matches(grammar, kAdd));
  EXPECT_FALSE(matches(grammar, ""));
  EXPECT_FALSE(matches(grammar, std::string("Well. ") + kAdd));
  EXPECT_FALSE(matches(grammar, std::string(kAdd) + "\n" + kStop));
}

TEST(ToolCalls, BesideAConstraintEitherHolds) {
  ConstraintText text = with_calls(false, true);
  text.kind = ConstraintText::Kind::kChoice;
  text.choices = {"yes", "no"};
  const GrammarRef grammar = compiled(text);
  EXPECT_TRUE(matches(grammar, "yes"));
  EXPECT_TRUE(matches(grammar, kStop));
  EXPECT_FALSE(matches(grammar, "maybe"));
  EXPECT_FALSE(matches(grammar, std::string("yes") + kStop));
}

TEST(ToolCalls, RefusalsNameToolAndKeyword) {
  ConstraintText text = with_calls(true, true);
  text.calls->tools[1].parameters = R"({"type": "object", "not": {}})";
  EXPECT_TRUE(matches(compiled(text), kStop));  // not strict: any object
  text.calls->tools[1].strict = true;
  Result<GrammarRef> grammar = compile(text, test_vocabulary());
  ASSERT_FALSE(grammar.ok());
  EXPECT_EQ(grammar.error().message.rfind("tools[1].function.parameters: \"not\"", 0), 0u)
      << grammar.error().message;
  text.calls->tools[1] = {.name = "a\"b", .parameters = {}, .strict = false};
  EXPECT_FALSE(compile(text, test_vocabulary()).ok());
}

}  // namespace
}  // namespace ferry::grammar
