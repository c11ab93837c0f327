#include "text/chat_format.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace ferry::text {
namespace {

const Json kUserAsks = {{{"role", "user"}, {"content", "Hi"}}};

ChatFormat from_template(std::string_view source) {
  auto format = ChatFormat::from_template(source, "<s>", "</s>");
  EXPECT_TRUE(format.ok());
  return std::move(*format);
}

std::string encode(DeepSeekFormat format, const Json& messages, DeepSeekOptions options = {}) {
  options.bos = "B";
  options.eos = "E";
  auto text = encode_deepseek(format, messages, options);
  return text.ok() ? *text : "ERROR " + text.error().message;
}

Json message(const char* role, const char* content) {
  return {{"role", role}, {"content", content}};
}

Json call_message(const Json& arguments) {
  return {{"role", "assistant"},
          {"content", ""},
          {"tool_calls", Json::array({{{"type", "function"},
                                       {"function", {{"name", "f"}, {"arguments", arguments}}}}})}};
}

TEST(ChatFormat, ContentPartsAreJoined) {
  const ChatFormat format = from_template("{% for m in messages %}{{ m.content }};{% endfor %}");
  ChatRequest request;
  request.messages = {
      {{"role", "user"},
       {"content", {{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}}}}};
  auto text = format.render(request);
  ASSERT_TRUE(text.ok()) << text.error().message;
  EXPECT_EQ(*text, "ab;");
  request.messages[0]["content"] = Json::array({{{"type", "image_url"}}});
  text = format.render(request);
  ASSERT_FALSE(text.ok());
  EXPECT_NE(text.error().message.find("messages[0].content[0]"), std::string::npos);
}

TEST(ChatFormat, ArgumentsAsTheTemplateWantsThem) {
  const char* joined =
      "{% for m in messages %}{% for t in m.tool_calls or [] %}"
      "{{ '<' + t.function.arguments + '>' }}{% endfor %}{% endfor %}";
  const char* dumped =
      "{% for m in messages %}{% for t in m.tool_calls or [] %}"
      "{{ t.function.arguments | tojson }}{% endfor %}{% endfor %}";
  for (const Json& arguments : {Json(R"({"x": 1})"), Json{{"x", 1}}}) {
    ChatRequest request;
    request.messages = Json::array({message("user", "q"), call_message(arguments)});
    EXPECT_EQ(from_template(joined).render(request).value(), R"(<{"x": 1}>)");
    EXPECT_EQ(from_template(dumped).render(request).value(), R"({"x": 1})");
  }
}

TEST(ChatFormat, ThinkingReachesTheTemplate) {
  const ChatFormat format = from_template("{{ thinking is defined }} {{ enable_thinking }}");
  ChatRequest request;
  request.messages = kUserAsks;
  EXPECT_EQ(format.render(request).value(), "False ");
  request.thinking = false;
  EXPECT_EQ(format.render(request).value(), "True False");
  request.extra = {{"enable_thinking", "mine"}};
  EXPECT_EQ(format.render(request).value(), "True mine");
}

TEST(ChatFormat, BadMessagesAreNamed) {
  const ChatFormat format = from_template("x");
  for (const auto& [messages, expected] : std::initializer_list<std::pair<Json, const char*>>{
           {Json("text"), "messages: expected an array"},
           {Json::array({1}), "messages[0]: expected an object"},
           {Json::array({{{"content", "x"}}}), "messages[0]: role"},
           {Json::array({{{"role", "user"}, {"content", 5}}}), "messages[0].content"},
           {Json::array({{{"role", "user"}, {"tool_calls", 5}}}), "messages[0].tool_calls"}}) {
    ChatRequest request;
    request.messages = messages;
    auto text = format.render(request);
    ASSERT_FALSE(text.ok()) << expected;
    EXPECT_NE(text.error().message.find(expected), std::string::npos) << text.error().message;
  }
}

TEST(DeepSeekEncoding, V2) {
  const Json messages = Json::array({message("system", "S"), message("user", "Q"),
                                     message("assistant", "A"), message("user", "R")});
  EXPECT_EQ(encode(DeepSeekFormat::kV2, messages),
            "BS\n\nUser: Q\n\nAssistant: AEUser: R\n\nAssistant:");
}

TEST(DeepSeekEncoding, V3AndR1) {
  const Json messages =
      Json::array({message("system", "S"), message("user", "Q"),
                   message("assistant", "thought</think>A"), message("user", "R")});
  EXPECT_EQ(encode(DeepSeekFormat::kV3, messages),
            "BS<｜User｜>Q<｜Assistant｜>AE<｜User｜>R<｜Assistant｜>");
  EXPECT_EQ(encode(DeepSeekFormat::kR1, messages),
            "BS<｜User｜>Q<｜Assistant｜>AE<｜User｜>R<｜Assistant｜><think>\n");
}

TEST(DeepSeekEncoding, V3ToolResultsAreFollowedByTheAnswer) {
  const Json messages =
      Json::array({message("user", "Q"), call_message(R"({"x": 1})"), message("tool", "5"),
                   message("tool", "6"), message("assistant", "A")});
  EXPECT_EQ(encode(DeepSeekFormat::kV3, messages, {.add_generation_prompt = false}),
            "B<｜User｜>Q<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<"
            "｜tool▁sep｜>f\n"
            "```json\n{\"x\": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>E"
            "<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>5<｜tool▁output▁end｜>\n"
            "<｜tool▁output▁begin｜>6<｜tool▁output▁end｜><｜tool▁outputs▁end｜>AE");
}

// The built-in model's template is V3.1's: the encoder must write the same text.
TEST(DeepSeekEncoding, V31AsTheTemplateOfTheBuiltInModel) {
  std::ifstream in(std::string(FERRY_SOURCE_DIR) + "/demo/goldens/chat_template.json");
  auto goldens = parse_json(std::string(std::istreambuf_iterator<char>(in), {}));
  ASSERT_TRUE(goldens.ok());
  for (const Json& golden : *goldens) {
    DeepSeekOptions options;
    options.tools = golden["tools"];
    options.thinking = golden["thinking"].get<bool>();
    options.add_generation_prompt = golden["add_generation_prompt"].get<bool>();
    auto text = encode_deepseek(DeepSeekFormat::kV31, golden["messages"], options);
    ASSERT_TRUE(text.ok()) << text.error().message;
    EXPECT_EQ(*text, golden["rendered"].get<std::string>());
  }
}

Json call_with_id(const char* id, const char* name, const Json& arguments) {
  return {
      {"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
}

Json thoughtful(const char* reasoning, const char* content, Json calls) {
  Json out = message("assistant", content);
  out["reasoning_content"] = reasoning;
  if (!calls.empty()) out["tool_calls"] = std::move(calls);
  return out;
}

const Json kOneTool = Json::array(
    {{{"type", "function"},
      {"function", {{"name", "f"}, {"description", "D"}, {"parameters", {{"type", "object"}}}}}}});

// The model is told of its tools, in the words of the calls it makes itself.
TEST(DeepSeekEncoding, V3AndR1DescribeTools) {
  const Json messages = Json::array({message("system", "S"), message("user", "Q")});
  for (const DeepSeekFormat format : {DeepSeekFormat::kV3, DeepSeekFormat::kR1}) {
    const std::string text = encode(format, messages, {.tools = kOneTool});
    EXPECT_EQ(text.rfind("BS\n\n## Tools\n", 0), 0u) << text;
    EXPECT_NE(
        text.find("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>TOOL_NAME\n"),
        std::string::npos);
    EXPECT_NE(text.find("### f\nDescription: D\nParameters: {\"type\": \"object\"}\n<｜User｜>Q"),
              std::string::npos)
        << text;
  }
  EXPECT_EQ(encode(DeepSeekFormat::kV3, Json::array({message("user", "Q")}), {.tools = kOneTool})
                .rfind("B## Tools", 0),
            0u);
}

TEST(DeepSeekEncoding, V31KeepsThoughtsWhileToolsAreCalled) {
  const Json calls = Json::array({call_with_id("c", "f", "{}")});
  const Json loop =
      Json::array({message("user", "Q"), thoughtful("old", "A", Json::array()),
                   message("user", "R"), thoughtful("new", "", calls), message("tool", "5")});
  const std::string called =
      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜><"
      "｜tool▁calls▁end｜>E"
      "<｜tool▁output▁begin｜>5<｜tool▁output▁end｜>";
  const std::string before = "B<｜User｜>Q<｜Assistant｜></think>AE<｜User｜>R<｜Assistant｜>";
  EXPECT_EQ(encode(DeepSeekFormat::kV31, loop, {.thinking = true}),
            before + "<think>new</think>" + called);
  EXPECT_EQ(encode(DeepSeekFormat::kV31, loop), before + "</think>" + called);
}

TEST(DeepSeekEncoding, V32) {
  const Json calls =
      Json::array({call_with_id("c1", "f", R"({"s": "a<b", "n": [1, 2], "ü": null})"),
                   call_with_id("c2", "g", Json::object())});
  Json messages =
      Json::array({message("system", "S"), message("user", "Q"),
                   thoughtful("old", "A", Json::array()), message("user", "R"),
                   thoughtful("new", "Look:", calls), message("tool", "5"), message("tool", "6")});
  const std::string called =
      "Look:\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n"
      "<｜DSML｜parameter name=\"s\" string=\"true\">a<b</｜DSML｜parameter>\n"
      "<｜DSML｜parameter name=\"n\" string=\"false\">[1, 2]</｜DSML｜parameter>\n"
      "<｜DSML｜parameter name=\"ü\" string=\"false\">null</｜DSML｜parameter>\n"
      "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"g\">\n\n</｜DSML｜invoke>\n"
      "</｜DSML｜function_calls>E\n\n<function_results>\n<result>5</result>\n<result>6</result>\n"
      "</function_results>";
  EXPECT_EQ(encode(DeepSeekFormat::kV32, messages, {.thinking = true}),
            "BS<｜User｜>Q<｜Assistant｜></think>AE<｜User｜>R<｜Assistant｜><think>new</think>" +
                called + "\n\n<think>");
  EXPECT_EQ(encode(DeepSeekFormat::kV32, messages),
            "BS<｜User｜>Q<｜Assistant｜></think>AE<｜User｜>R<｜Assistant｜></think>" + called +
                "\n\n</think>");
  messages.push_back(message("tool", "7"));
  EXPECT_NE(encode(DeepSeekFormat::kV32, messages).find("messages[7]: the result of a call"),
            std::string::npos);
  const std::string tools = encode(DeepSeekFormat::kV32, kUserAsks, {.tools = kOneTool});
  EXPECT_EQ(tools.rfind("B## Tools\nYou have access to a set of tools", 0), 0u);
  EXPECT_NE(
      tools.find("<functions>\n{\"name\": \"f\", \"description\": \"D\", \"parameters\": "
                 "{\"type\": \"object\"}}\n</functions>\n<｜User｜>Hi<｜Assistant｜></think>"),
      std::string::npos);
}

TEST(DeepSeekEncoding, V4) {
  const Json calls =
      Json::array({call_with_id("c1", "f", R"({"s": "a"})"), call_with_id("c2", "g", "no object")});
  Json second = message("tool", "6"), first = message("tool", "5");
  first["tool_call_id"] = "c1";
  second["tool_call_id"] = "c2";
  const Json messages = Json::array({message("user", "Q"), thoughtful("old", "A", Json::array()),
                                     message("user", "R"), thoughtful("new", "", calls), second,
                                     first, message("user", "Well?")});
  const std::string called =
      "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n"
      "<｜DSML｜parameter name=\"s\" string=\"true\">a</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
      "<｜DSML｜invoke name=\"g\">\n"
      "<｜DSML｜parameter name=\"arguments\" string=\"true\">no object</｜DSML｜parameter>\n"
      "</｜DSML｜invoke>\n</｜DSML｜tool_calls>E<｜User｜><tool_result>5</tool_result>\n\n"
      "<tool_result>6</tool_result>\n\nWell?<｜Assistant｜>";
  // Without tools to call, thoughts go when the user speaks again; with some they all stay.
  EXPECT_EQ(encode(DeepSeekFormat::kV4, messages, {.thinking = true}),
            "B<｜User｜>Q<｜Assistant｜></think>AE<｜User｜>R<｜Assistant｜></think>" + called +
                "<think>");
  const std::string with_tools =
      encode(DeepSeekFormat::kV4, messages, {.tools = kOneTool, .thinking = true});
  EXPECT_NE(
      with_tools.find("<｜User｜>Q<｜Assistant｜><think>old</think>AE<｜User｜>R<｜Assistant｜>"
                      "<think>new</think>" +
                      called + "<think>"),
      std::string::npos)
      << with_tools;
  const std::string hard =
      encode(DeepSeekFormat::kV4, kUserAsks, {.thinking = true, .most_effort = true});
  EXPECT_EQ(hard.rfind("BReasoning Effort: Absolute maximum", 0), 0u);
  EXPECT_TRUE(hard.ends_with("unchecked.\n\n<｜User｜>Hi<｜Assistant｜><think>")) << hard;
}

// A task in place of an answer: behind what asks for it, and without thoughts where it was done.
TEST(DeepSeekEncoding, V4Tasks) {
  const auto asking = [](const char* role, const char* content, const char* task) {
    Json out = message(role, content);
    out["task"] = task;
    return out;
  };
  EXPECT_EQ(encode(DeepSeekFormat::kV4, Json::array({asking("user", "Q", "query")}), {}),
            "B<｜User｜>Q<｜query｜>");
  EXPECT_EQ(
      encode(DeepSeekFormat::kV4, Json::array({asking("user", "Q", "action")}), {.thinking = true}),
      "B<｜User｜>Q<｜Assistant｜><think><｜action｜>");
  EXPECT_EQ(encode(DeepSeekFormat::kV4,
                   Json::array({message("user", "Q"), asking("assistant", "A", "title")}), {}),
            "B<｜User｜>Q<｜Assistant｜></think>AE<｜title｜>");
  // Done, then a question: not one turn of the user with what asked for the task.
  EXPECT_EQ(
      encode(DeepSeekFormat::kV4,
             Json::array({asking("user", "Q", "domain"), thoughtful("t", "web", Json::array()),
                          asking("user", "R", "read_url"), message("user", "S")}),
             {.thinking = true}),
      "B<｜User｜>Q<｜domain｜>webE<｜User｜>R<｜User｜>S<｜Assistant｜><think>");
  EXPECT_NE(encode(DeepSeekFormat::kV4, Json::array({asking("user", "Q", "cook")}), {})
                .find("messages[0]: task: found \"cook\", expected one of action, query"),
            std::string::npos);
  EXPECT_NE(encode(DeepSeekFormat::kV32, Json::array({asking("user", "Q", "title")}), {})
                .find("only DeepSeek-V4"),
            std::string::npos);
}

// The template that was published for V4 writes what its encoder does.
TEST(DeepSeekEncoding, V4AsItsTemplate) {
  const char* named = std::getenv("FERRY_SHARED");
  const std::string shared = named != nullptr ? named : FERRY_SOURCE_DIR "/../shared";
  std::ifstream lines(shared + "/templates/expected.jsonl");
  if (!lines) GTEST_SKIP() << "no shared templates";
  int compared = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto golden = parse_json(line);
    ASSERT_TRUE(golden.ok());
    if ((*golden)["template"] != "deepseek-ai-DeepSeek-V4.jinja") continue;
    const Json& context = (*golden)["context"];
    DeepSeekOptions options{.tools = context.value("tools", Json()),
                            .thinking = context.value("thinking", false),
                            .add_generation_prompt = context["add_generation_prompt"].get<bool>(),
                            .bos = "<BOS>"};
    EXPECT_EQ(encode_deepseek(DeepSeekFormat::kV4, context["messages"], options).value(),
              (*golden)["rendered"].get<std::string>())
        << (*golden)["case"];
    ++compared;
  }
  EXPECT_EQ(compared, 15);
}

TEST(DeepSeekEncoding, WhatAFormatCannotSayIsAnError) {
  EXPECT_NE(encode(DeepSeekFormat::kV2, Json::array({message("tool", "5")})).find("no tool calls"),
            std::string::npos);
  EXPECT_NE(encode(DeepSeekFormat::kV3, kUserAsks, {.thinking = true, .thinking_given = true})
                .find("thinking"),
            std::string::npos);
  EXPECT_NE(encode(DeepSeekFormat::kV3, Json::array({message("wizard", "x")})).find("wizard"),
            std::string::npos);
}

TEST(DeepSeekEncoding, ChosenByTypeAndVocabulary) {
  auto with = [](std::initializer_list<std::string_view> tokens) {
    return [tokens = std::vector<std::string_view>(tokens)](std::string_view token) {
      return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
    };
  };
  EXPECT_EQ(deepseek_format_for("deepseek_v2", with({})), DeepSeekFormat::kV2);
  EXPECT_EQ(deepseek_format_for("deepseek_v2", with({"<｜User｜>"})), DeepSeekFormat::kV3);
  EXPECT_EQ(deepseek_format_for("deepseek_v3", with({"<｜User｜>"})), DeepSeekFormat::kV3);
  EXPECT_EQ(deepseek_format_for("deepseek_v3", with({"<｜User｜>", "<think>"})),
            DeepSeekFormat::kV31);
  EXPECT_EQ(deepseek_format_for("deepseek_v32", with({"<｜User｜>", "<think>"})),
            DeepSeekFormat::kV31);
  EXPECT_EQ(deepseek_format_for("deepseek_v32", with({"<｜User｜>", "<think>", "｜DSML｜"})),
            DeepSeekFormat::kV32);
  EXPECT_EQ(deepseek_format_for("deepseek_v4", with({"<｜User｜>"})), DeepSeekFormat::kV4);
  EXPECT_EQ(deepseek_format_for("qwen2", with({"<｜User｜>", "<think>"})), DeepSeekFormat::kR1);
  EXPECT_EQ(deepseek_format_for("qwen2", with({})), std::nullopt);
}

TEST(PythonJson, SpacesAndUnicode) {
  EXPECT_EQ(python_json({{"a", {1, 2}}, {"ü", {{"x", nullptr}}}}),
            R"({"a": [1, 2], "ü": {"x": null}})");
}

}  // namespace
}  // namespace ferry::text
