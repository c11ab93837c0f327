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

constexpr const char* kElementSchema = R"({"type": "object", "$defs": {"side": {"enum": ["buy",
    "sell", 0]}}, "properties": {"who": {"type": "string"}, "side": {"$ref": "#/$defs/side"},
    "n": {"type": ["integer", "string"], "minimum": 0, "maxLength": 3, "pattern": "^[a-z]*$"},
    "list": {"type": "array", "items": {"type": "string", "maxLength": 2}}},
    "required": ["who", "side"], "additionalProperties": false})";

// As DSML; or as Qwen3-Coder, which does not say what is a text.
ConstraintText with_elements(bool typed, const std::string& parameters) {
  ToolCallText calls{.lead = "\n",
                     .begin = "<calls>",
                     .before_name = "<use name=\"",
                     .before_arguments = "\">\n",
                     .after_arguments = "</use>",
                     .end = "</calls>",
                     .required = true};
  calls.elements = {.begin = "<arg name=\"",
                    .text = typed ? "\" string=\"true\">" : "\">\n",
                    .json = typed ? "\" string=\"false\">" : "\">\n",
                    .value_end = typed ? "" : "\n",
                    .end = "</arg>",
                    .behind = "\n",
                    .none = "\n",
                    .typed = typed};
  calls.tools.push_back({.name = "trade", .parameters = parameters, .strict = true});
  ConstraintText text{.kind = ConstraintText::Kind::kText};
  text.calls = std::move(calls);
  return text;
}

std::string use(const std::string& elements) {
  return "\n<calls><use name=\"trade\">\n" + elements + "</use></calls>";
}
std::string arg(const std::string& name, bool text, const std::string& value) {
  return "<arg name=\"" + name + "\" string=\"" + (text ? "true" : "false") + "\">" + value +
         "</arg>\n";
}

TEST(ToolCallElements, KeepToTheSchema) {
  const GrammarRef grammar = compiled(with_elements(true, kElementSchema));
  const std::string who = arg("who", true, "a < b\n</ar> \"é\"");
  EXPECT_TRUE(matches(grammar, use(who + arg("side", true, "buy"))));
  EXPECT_TRUE(matches(grammar, use(who + arg("side", false, "0") + arg("n", false, "12") +
                                   arg("list", false, "[\"ab\", \"c\"]"))));
  EXPECT_TRUE(matches(grammar, use(who + arg("side", true, "sell") + arg("n", true, "abc"))));
  for (const std::string& wrong :
       {who,                             // side is required
        arg("side", true, "buy") + who,  // out of order
        who + arg("side", true, "keep"), who + arg("side", false, "\"buy\""),
        who + arg("side", true, "0"),
        who + arg("side", true, "buy") + arg("n", true, "abcd"),  // too long
        who + arg("side", true, "buy") + arg("n", true, "A"),     // pattern
        who + arg("side", true, "buy") + arg("n", false, "-1"),   // minimum
        who + arg("side", true, "buy") + arg("list", false, "[1]"),
        who + arg("side", true, "buy") + arg("other", true, "x"),
        arg("who", false, "\"x\"") + arg("side", true, "buy")}) {
    EXPECT_FALSE(matches(grammar, use(wrong))) << wrong;
  }
}

TEST(ToolCallElements, WithoutTypesAReaderGoesByTheSchema) {
  const GrammarRef grammar = compiled(with_elements(false, kElementSchema));
  const auto plain = [](const std::string& name, const std::string& value) {
    return "<arg name=\"" + name + "\">\n" + value + "\n</arg>\n";
  };
  const std::string who = plain("who", "any\ntext");
  // A $ref tells the reader nothing, so that its values are JSON.
  EXPECT_TRUE(matches(grammar, use(who + plain("side", "\"buy\"") + plain("n", "7"))));
  EXPECT_TRUE(matches(grammar, use(who + plain("side", "0") + plain("n", "\"ab\""))));
  EXPECT_FALSE(matches(grammar, use(who + plain("side", "buy"))));
  EXPECT_FALSE(matches(grammar, use(who + plain("side", "0") + plain("n", "ab"))));
}

TEST(ToolCallElements, NoneOrAnyOfThem) {
  const GrammarRef none = compiled(with_elements(true, R"({"type": "object", "properties": {}})"));
  EXPECT_TRUE(matches(none, use("\n")));
  EXPECT_TRUE(matches(none, use("")));
  EXPECT_FALSE(matches(none, use(arg("x", true, "y"))));
  for (const char* open : {"", R"({"type": "object"})"}) {
    const GrammarRef any = compiled(with_elements(true, open));
    EXPECT_TRUE(matches(any, use("\n")));
    EXPECT_TRUE(matches(any, use(arg("x-y", true, "z") + arg("k", false, "{\"a\": 1}"))));
  }
}

TEST(ToolCallElements, WhatCantBeHonouredIsRefusedOrFree) {
  ConstraintText text = with_elements(
      true, R"({"type": "object", "patternProperties": {"^x": {}}, "properties": {}})");
  Result<GrammarRef> grammar = compile(text, test_vocabulary());
  ASSERT_FALSE(grammar.ok());
  EXPECT_NE(grammar.error().message.find("\"patternProperties\" at #"), std::string::npos)
      << grammar.error().message;
  text.calls->tools[0].strict = false;
  EXPECT_TRUE(matches(compiled(text), use(arg("x", true, "y"))));
  text.calls->tools[0].parameters = R"({"type": "string"})";
  text.calls->tools[0].strict = true;
  EXPECT_FALSE(compile(text, test_vocabulary()).ok());
}

TEST(ToolCallElements, MasksAreExactOnTheWay) {
  std::mt19937 random(7);
  for (const bool typed : {true, false}) {
    const GrammarRef grammar = compiled(with_elements(typed, kElementSchema));
    for (int i = 0; i < 8; ++i) random_walk(grammar, random, 120, i < 2);
  }
}

TEST(ToolCalls, NumbersBehindNames) {
  ConstraintText text = with_calls(true, true);
  text.calls->numbered = true;
  const GrammarRef grammar = compiled(text);
  const auto call = [](const std::string& name) {
    return "<use>\n{\"name\": \"" + name + "\", \"arguments\": {}}\n</use>";
  };
  EXPECT_TRUE(matches(grammar, call("stop:0")));
  EXPECT_TRUE(matches(grammar, call("stop:12")));
  EXPECT_FALSE(matches(grammar, call("stop")));
  EXPECT_FALSE(matches(grammar, call("stop:01")));
}

}  // namespace
}  // namespace ferry::grammar
