#include "text/tool_calls.h"

#include <gtest/gtest.h>

#include "text/deepseek_encoding.h"
#include "text/utf8.h"

namespace ferry::text {
namespace {

using enum ToolFormat;

struct Call {
  std::string id, name, arguments;
  bool operator==(const Call&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Call& call) {
  return out << call.id << ' ' << call.name << ' ' << call.arguments;
}

struct CallCase {
  const char* what;
  ToolFormat format;
  std::string input;
  std::string text;
  std::vector<Call> calls;
};

const Json kTools = Json::parse(R"([
  {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {
    "s": {"type": "string"}, "n": {"type": "integer"}, "o": {"type": "object"},
    "e": {"enum": ["a", "b"]}, "u": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}}},
  {"type": "function", "function": {"name": "get_weather", "parameters": {}}}])");

std::string v31(const std::string& calls) {
  return "<｜tool▁calls▁begin｜>" + calls + "<｜tool▁calls▁end｜>";
}
std::string v31_call(const std::string& name, const std::string& arguments) {
  return "<｜tool▁call▁begin｜>" + name + "<｜tool▁sep｜>" + arguments + "<｜tool▁call▁end｜>";
}
std::string v3_call(const std::string& name, const std::string& arguments) {
  return v31_call("function", name + "\n```json\n" + arguments + "\n```");
}
// [i] for <｜DSML｜invoke, and so on.
std::string dsml(std::string text) {
  const std::pair<const char*, const char*> shorts[] = {
      {"[c]", "<｜DSML｜function_calls>"}, {"[/c]", "</｜DSML｜function_calls>"},
      {"[t]", "<｜DSML｜tool_calls>"},     {"[/t]", "</｜DSML｜tool_calls>"},
      {"[i ", "<｜DSML｜invoke "},         {"[/i]", "</｜DSML｜invoke>"},
      {"[p ", "<｜DSML｜parameter "},      {"[/p]", "</｜DSML｜parameter>"}};
  for (const auto& [from, to] : shorts) {
    const std::string key = from;
    for (size_t at = 0; (at = text.find(key, at)) != std::string::npos; at += 1) {
      text.replace(at, key.size(), to);
    }
  }
  return text;
}

const std::vector<CallCase> kCallCases = {
    // DeepSeek V3 and R1
    {"v3",
     kDeepSeekV3,
     "I look. " + v31(v3_call("f", R"({"s": "ü ```"})")),
     "I look. ",
     {{"id0", "f", R"({"s": "ü ```"})"}}},
    {"v3, two",
     kDeepSeekV3,
     v31(v3_call("f", "{}") + "\n" + v3_call("get_weather", "{\"a\":\n1}")),
     "",
     {{"id0", "f", "{}"}, {"id1", "get_weather", "{\"a\":\n1}"}}},
    {"v3 without a fence",
     kDeepSeekV3,
     v31(v31_call("function", "f\n{\"n\": 1}")),
     "",
     {{"id0", "f", "{\"n\": 1}"}}},
    {"v3, cut off in the fence",
     kDeepSeekV3,
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"n\": 1}\n``",
     "",
     {{"id0", "f", "{\"n\": 1}\n``"}}},
    {"v3, no name",
     kDeepSeekV3,
     v31(v31_call("function", "two words\n{}")),
     v31(v31_call("function", "two words\n{}")),
     {}},
    // DeepSeek V3.1
    {"v3.1",
     kDeepSeekV31,
     v31(v31_call("f", R"({"s": "日本 <b>"})")),
     "",
     {{"id0", "f", R"({"s": "日本 <b>"})"}}},
    {"v3.1, text around",
     kDeepSeekV31,
     "a\n\n" + v31(v31_call("f", "{}")) + "\n b",
     "a\n\nb",
     {{"id0", "f", "{}"}}},
    {"v3.1, two, and two sections",
     kDeepSeekV31,
     v31(v31_call("f", "{}") + v31_call("g", "{\"a\": [1]}")) + v31(v31_call("h", "{}")),
     "",
     {{"id0", "f", "{}"}, {"id1", "g", "{\"a\": [1]}"}, {"id2", "h", "{}"}}},
    {"v3.1, a tool that is called function",
     kDeepSeekV31,
     v31(v31_call("function", "{\"a\":1}")),
     "",
     {{"id0", "function", "{\"a\":1}"}}},
    {"v3.1, no arguments", kDeepSeekV31, v31(v31_call("f", "")), "", {{"id0", "f", "{}"}}},
    {"v3.1, cut off in the arguments",
     kDeepSeekV31,
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": \"<｜tool",
     "",
     {{"id0", "f", "{\"a\": \"<｜tool"}}},
    {"v3.1, the call is not closed",
     kDeepSeekV31,
     v31("<｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": 1} ") + "b",
     "b",
     {{"id0", "f", "{\"a\": 1}"}}},
    {"v3.1, cut off in the name",
     kDeepSeekV31,
     "x<｜tool▁calls▁begin｜> <｜tool▁call▁begin｜>f",
     "x<｜tool▁calls▁begin｜> <｜tool▁call▁begin｜>f",
     {}},
    {"v3.1, no call in it",
     kDeepSeekV31,
     "<｜tool▁calls▁begin｜> f(x)",
     "<｜tool▁calls▁begin｜> f(x)",
     {}},
    {"v3.1, nonsense behind a call",
     kDeepSeekV31,
     "<｜tool▁calls▁begin｜>" + v31_call("f", "{}") + " and",
     " and",
     {{"id0", "f", "{}"}}},
    {"v3.1, no call at all",
     kDeepSeekV31,
     "a < b <｜ c <｜tool▁call",
     "a < b <｜ c <｜tool▁call",
     {}},
    // DSML
    {"v3.2",
     kDeepSeekV32,
     dsml("Well.\n\n[c]\n[i name=\"f\">\n[p name=\"s\" string=\"true\">a \"b\"\n\\ü</x>[/p]\n"
          "[p name=\"n\" string=\"false\"> 12 [/p]\n[/i]\n[/c]"),
     "Well.",
     {{"id0", "f", "{\"s\": \"a \\\"b\\\"\\n\\\\ü</x>\", \"n\": 12}"}}},
    {"v4, two",
     kDeepSeekV4,
     dsml("[t]\n[i name=\"f\">\n[p name=\"o\" string=\"false\">{\"a\": [1, \"</\"]}[/p]\n[/i]\n"
          "[i name=\"g\">\n[/i]\n[/t]"),
     "",
     {{"id0", "f", "{\"o\": {\"a\": [1, \"</\"]}}"}, {"id1", "g", "{}"}}},
    {"v4, a value that is no JSON",
     kDeepSeekV4,
     dsml("[t][i name=\"f\">[p name=\"n\" string=\"false\">twelve[/p][/i][/t]"),
     "",
     {{"id0", "f", "{\"n\": \"twelve\"}"}}},
    {"v4, arguments as JSON",
     kDeepSeekV4,
     dsml("[t]\n[i name=\"f\">\n{\"n\": 1}[/i]\n[/t]"),
     "",
     {{"id0", "f", "{\"n\": 1}"}}},
    {"v4, cut off in a text",
     kDeepSeekV4,
     dsml("[t][i name=\"f\">[p name=\"s\" string=\"true\">abc</｜DS"),
     "",
     {{"id0", "f", "{\"s\": \"abc</｜DS"}}},
    {"v4, cut off in a tag",
     kDeepSeekV4,
     dsml("[t][i name=\"f\">[p name=\"n\" string=\"false\">1[/p]<｜DSML｜param"),
     "",
     {{"id0", "f", "{\"n\": 1"}}},
    {"v4, cut off in a name",
     kDeepSeekV4,
     dsml("a\n\n[t]\n[i name=\"f"),
     dsml("a\n\n[t]\n[i name=\"f"),
     {}},
    {"v4, text in a call",
     kDeepSeekV4,
     dsml("[t][i name=\"f\">[p name=\"n\" string=\"false\">1[/p] oops[/i]"),
     dsml("oops[/i]"),
     {{"id0", "f", "{\"n\": 1}"}}},
    {"v4, a section without calls", kDeepSeekV4, dsml("a\n[t]\nno"), dsml("a\n[t]\nno"), {}},
    {"v4, newlines are text", kDeepSeekV4, "a\n\n\nb\n", "a\n\n\nb\n", {}},
    // Qwen
    {"hermes",
     kHermes,
     "Hm.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"}<ü\\\"\"}}\n"
     "</tool_call>",
     "Hm.",
     {{"id0", "f", "{\"s\": \"}<ü\\\"\"}"}}},
    {"hermes, two",
     kHermes,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n"
     "{\"name\":\"g\",\"arguments\":{\"a\":{\"b\":[{}]}}}\n</tool_call>\n",
     "",
     {{"id0", "f", "{}"}, {"id1", "g", "{\"a\":{\"b\":[{}]}}"}}},
    {"hermes, another order",
     kHermes,
     "<tool_call>{\"arguments\": {\"n\":1}, \"name\": \"f\"}</tool_call>b",
     "b",
     {{"id0", "f", "{\"n\": 1}"}}},
    {"hermes, arguments as a text",
     kHermes,
     R"(<tool_call>{"name": "f", "arguments": "{\"n\": 1}"}</tool_call>)",
     "",
     {{"id0", "f", "{\"n\": 1}"}}},
    {"hermes, more keys",
     kHermes,
     R"(<tool_call>{"name": "f", "arguments": {"n": 1}, "id": 3}</tool_call> b)",
     "b",
     {{"id0", "f", "{\"n\": 1}"}}},
    {"hermes, a bracket too few and one too many",
     kHermes,
     "<tool_call>{\"name\": \"f\", \"arguments\": {}\n</tool_call>"
     "<tool_call>{\"name\": \"f\", \"arguments\": {}}}\n</tool_call>",
     "",
     {{"id0", "f", "{}"}, {"id1", "f", "{}"}}},
    {"hermes, no JSON",
     kHermes,
     "a\n<tool_call>\nf(x)\n</tool_call>",
     "a\n<tool_call>\nf(x)\n</tool_call>",
     {}},
    {"hermes, half JSON",
     kHermes,
     "<tool_call>{\"name\": <f>}</tool_call>",
     "<tool_call>{\"name\": <f>}</tool_call>",
     {}},
    {"hermes, arguments that are no JSON",
     kHermes,
     "<tool_call>{\"name\": \"f\", \"arguments\": {x: 1}}</tool_call>b",
     "b",
     {{"id0", "f", "{x: 1}}"}}},
    {"hermes, cut off",
     kHermes,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"ab",
     "",
     {{"id0", "f", "{\"s\": \"ab"}}},
    {"hermes, cut off in the name",
     kHermes,
     "a\n<tool_call>\n{\"name\": \"f",
     "a\n<tool_call>\n{\"name\": \"f",
     {}},
    {"qwen xml",
     kQwenXml,
     "a\n\n<tool_call>\n<function=f>\n<parameter=s>\nü\n\nb\n</parameter>\n<parameter=n>\n12\n"
     "</parameter>\n<parameter=o>\n{\"a\": 1}\n</parameter>\n<parameter=e>\na\n</parameter>\n"
     "<parameter=u>\nnull\n</parameter>\n<parameter=new>\n7\n</parameter>\n</function>\n</"
     "tool_call>",
     "a",
     {{"id0", "f",
       "{\"s\": \"ü\\n\\nb\", \"n\": 12, \"o\": {\"a\": 1}, \"e\": \"a\", \"u\": null, "
       "\"new\": \"7\"}"}}},
    {"qwen xml without the outer tag",
     kQwenXml,
     "<function=f>\n<parameter=s>\n1\n</parameter>\n</function>\n</tool_call>",
     "",
     {{"id0", "f", "{\"s\": \"1\"}"}}},
    {"qwen xml, no call", kQwenXml, "<tool_call>\nf\n", "<tool_call>\nf\n", {}},
    // Llama
    {"llama",
     kLlama3,
     R"({"name": "f", "parameters": {"s": "a"}})",
     "",
     {{"id0", "f", R"({"s": "a"})"}}},
    {"llama, tagged, two",
     kLlama3,
     R"(<|python_tag|>{"name": "f", "parameters": {}}; )"
     R"({"name": "get_weather", "parameters": {"a":1}})",
     "",
     {{"id0", "f", "{}"}, {"id1", "get_weather", "{\"a\":1}"}}},
    {"llama, with a type",
     kLlama3,
     R"({"type": "function", "name": "f", "parameters": {"s": "a"}})",
     "",
     {{"id0", "f", R"({"s": "a"})"}}},
    {"llama, no tool of that name",
     kLlama3,
     R"({"name": "Ann", "parameters": {"s": "a"}})",
     R"({"name": "Ann", "parameters": {"s": "a"}})",
     {}},
    {"llama, JSON that is no call",
     kLlama3,
     R"( {"nothing": {"s": "a"}} b)",
     R"( {"nothing": {"s": "a"}} b)",
     {}},
    {"llama, text", kLlama3, "\nIt is {\"name\": \"f\"}", "\nIt is {\"name\": \"f\"}", {}},
    {"llama, code", kLlama3, "<|python_tag|>print(1)", "<|python_tag|>print(1)", {}},
    {"llama, cut off", kLlama3, R"({"name": "f", "parameters": {"s)", "", {{"id0", "f", R"({"s)"}}},
    // Kimi
    {"kimi",
     kKimiK2,
     "Hm<|tool_calls_section_begin|><|tool_call_begin|>functions.f:3<|tool_call_argument_begin|>"
     "{\"s\": \"ü\"}<|tool_call_end|><|tool_call_begin|>functions.get_weather:4"
     "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
     "Hm",
     {{"functions.f:3", "f", "{\"s\": \"ü\"}"}, {"functions.get_weather:4", "get_weather", "{}"}}},
    {"kimi without an index",
     kKimiK2,
     "<|tool_calls_section_begin|><|tool_call_begin|>f<|tool_call_argument_begin|>{}"
     "<|tool_call_end|><|tool_calls_section_end|>",
     "",
     {{"id0", "f", "{}"}}},
};

struct Result {
  std::string text;
  std::vector<Call> calls;
};

void take(const ToolCallParser::Output& output, Result& result) {
  result.text += output.text;
  for (const ToolCallPiece& piece : output.calls) {
    const auto count = static_cast<int64_t>(result.calls.size());
    if (piece.index == count) {
      ASSERT_FALSE(piece.name.empty());
      result.calls.push_back({piece.id, piece.name, {}});
    } else {
      ASSERT_EQ(piece.index, count - 1);
      ASSERT_TRUE(piece.id.empty() && piece.name.empty());
    }
    result.calls.back().arguments += piece.arguments;
  }
}

Result run_calls(ToolFormat format, const std::vector<std::string_view>& parts,
                 bool parallel = true) {
  int next_id = 0;
  const auto parser = make_tool_call_parser(
      format, {.tools = kTools,
               .new_id = [&next_id] { return "id" + std::to_string(next_id++); },
               .parallel = parallel});
  Result result;
  for (std::string_view part : parts) take(parser->push(part), result);
  take(parser->finish(), result);
  EXPECT_EQ(parser->num_calls(), static_cast<int64_t>(result.calls.size()));
  return result;
}

void check(const CallCase& c, const std::vector<std::string_view>& parts) {
  const Result result = run_calls(c.format, parts);
  ASSERT_EQ(result.text, c.text) << c.what;
  ASSERT_EQ(result.calls, c.calls) << c.what;
}

TEST(ToolCalls, Whole) {
  for (const CallCase& c : kCallCases) check(c, {c.input});
}

TEST(ToolCalls, ByteByByte) {
  for (const CallCase& c : kCallCases) {
    std::vector<std::string_view> parts;
    for (size_t i = 0; i < c.input.size(); ++i)
      parts.push_back(std::string_view(c.input).substr(i, 1));
    check(c, parts);
  }
}

TEST(ToolCalls, EverySplitIntoTwoAndManyIntoThree) {
  for (const CallCase& c : kCallCases) {
    const std::string_view input = c.input;
    for (size_t i = 0; i <= input.size(); ++i) {
      check(c, {input.substr(0, i), input.substr(i)});
      for (size_t j = i; j <= std::min(input.size(), i + 40); ++j) {
        check(c, {input.substr(0, i), input.substr(i, j - i), input.substr(j)});
      }
    }
  }
}

// Whole characters in, whole characters out.
TEST(ToolCalls, NoCharacterIsCut) {
  for (const CallCase& c : kCallCases) {
    const auto parser = make_tool_call_parser(c.format, {.tools = kTools, .new_id = {}});
    for (size_t at = 0; at < c.input.size();) {
      const size_t length = utf8_step(c.input, at).length;
      const auto output = parser->push(std::string_view(c.input).substr(at, length));
      at += length;
      EXPECT_EQ(utf8_lossy(output.text), output.text) << c.what;
      for (const auto& piece : output.calls) {
        EXPECT_EQ(utf8_lossy(piece.arguments), piece.arguments) << c.what;
      }
    }
  }
}

TEST(ToolCalls, ArgumentsComeAsTheyAreWritten) {
  const auto parser = make_tool_call_parser(kDeepSeekV31, {.tools = kTools, .new_id = {}});
  EXPECT_EQ(parser->push("Hello").text, "Hello");
  auto output = parser->push("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\"");
  ASSERT_EQ(output.calls.size(), 1u);
  EXPECT_EQ(output.calls[0].name, "f");
  EXPECT_EQ(output.calls[0].arguments, "{\"a\"");
  output = parser->push(": 12");
  ASSERT_EQ(output.calls.size(), 1u);
  EXPECT_EQ(output.calls[0].name, "");
  EXPECT_EQ(output.calls[0].arguments, ": 12");
}

TEST(ToolCalls, OneCallIsTheEndWhereNoMoreAreWanted) {
  for (const CallCase& c : kCallCases) {
    if (c.calls.empty()) continue;
    const Result result = run_calls(c.format, {c.input, " more"}, false);
    ASSERT_EQ(result.calls.size(), 1u) << c.what;
    EXPECT_EQ(result.calls[0].name, c.calls[0].name) << c.what;
  }
}

// Cut off anywhere: nothing but what the whole answer has, and never more calls.
TEST(ToolCalls, EveryBeginning) {
  for (const CallCase& c : kCallCases) {
    for (size_t i = 0; i <= c.input.size(); ++i) {
      const Result result = run_calls(c.format, {std::string_view(c.input).substr(0, i)});
      ASSERT_LE(result.calls.size(), c.calls.size()) << c.what << " " << i;
      if (result.calls.empty()) {
        ASSERT_EQ(trimmed(result.text), trimmed(c.input.substr(0, i))) << c.what << " " << i;
      }
    }
  }
}

// What a spelling says is what the parser of its format reads.
TEST(ToolCalls, SpellingsAreRead) {
  for (ToolFormat format : {kDeepSeekV3, kDeepSeekV31, kDeepSeekV32, kDeepSeekV4, kHermes, kQwenXml,
                            kLlama3, kKimiK2}) {
    const ToolCallSpelling spelling = tool_call_spelling(format);
    const auto call = [&spelling](const std::string& name, const std::string& arguments) {
      return std::string(spelling.before_name) + name + std::string(spelling.before_arguments) +
             arguments + std::string(spelling.after_arguments);
    };
    const auto element = [&spelling](const char* name, bool is_text, const char* value) {
      const ElementSpelling& e = *spelling.elements;
      return std::string(e.begin) + name + std::string(is_text ? e.text : e.json) + value +
             std::string(e.value_end) + std::string(e.end) + std::string(e.behind);
    };
    std::string arguments = R"({"n": 1, "s": "a\nb"})", none = "{}";
    if (spelling.elements.has_value()) {
      arguments = element("n", false, "1") + element("s", true, "a\nb");
      none = spelling.elements->none;
    }
    const std::string number = spelling.numbered ? ":0" : "";
    const std::string text = std::string(spelling.lead) + std::string(spelling.begin) +
                             call("f" + number, arguments) + std::string(spelling.between) +
                             call("get_weather" + number, none) + std::string(spelling.end);
    const Result result = run_calls(format, {text});
    EXPECT_EQ(result.text, "");
    ASSERT_EQ(result.calls.size(), 2u) << text;
    EXPECT_EQ(result.calls[0].name, "f");
    EXPECT_EQ(result.calls[0].arguments, R"({"n": 1, "s": "a\nb"})");
    EXPECT_EQ(result.calls[1].name, "get_weather");
    EXPECT_EQ(result.calls[1].arguments, "{}");
  }
}

TEST(ToolCalls, LongNonsenseIsTextAndTakesNoTime) {
  const std::string junk(200'000, 'x');
  for (ToolFormat format : {kDeepSeekV3, kDeepSeekV4, kHermes, kQwenXml, kLlama3, kKimiK2}) {
    const auto parser = make_tool_call_parser(format, {.tools = kTools, .new_id = {}});
    std::string text;
    for (std::string_view head : tool_markers(format)) text += parser->push(head).text;
    for (size_t i = 0; i < junk.size(); i += 4) text += parser->push(junk.substr(i, 4)).text;
    text += parser->finish().text;
    EXPECT_GE(text.size(), junk.size());
  }
}

}  // namespace
}  // namespace ferry::text
