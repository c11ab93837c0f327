// Constrained answers of the built-in model: whatever it would have liked to say, what comes out
// parses and keeps to the schema, behind its thoughts too.
#include <cmath>

#include "base/json.h"
#include "engine/demo_engine.h"

namespace ferry::engine {
namespace {

const Engine& constraint_engine() {
  static const Engine engine = [] {
    EngineOptions options = demo_options();
    options.max_context = 1024;
    return load_engine(options);
  }();
  return engine;
}

Constraint schema(std::string text) {
  return {.kind = Constraint::kJsonSchema, .text = std::move(text), .choices = {}};
}

Request chat(const std::string& text, bool thinking, std::optional<Constraint> constraint) {
  Request request;
  request.prompt =
      ChatPrompt{.messages_json = Json::array({{{"role", "user"}, {"content", text}}}).dump(),
                 .tools_json = {},
                 .thinking = thinking,
                 .extra_json = {}};
  request.sampling.temperature = 0;
  request.constraint = std::move(constraint);
  return request;
}

bool is_type(const Json& value, const std::string& type) {
  if (type == "integer") {
    return value.is_number() && std::floor(value.get<double>()) == value.get<double>();
  }
  if (type == "number") return value.is_number();
  return json_type_name(value).find(type) != std::string_view::npos;
}

// The keywords that the schemas below use, straight from the specification.
bool is_valid(const Json& value, const Json& by) {
  if (by.contains("enum")) {
    return std::find(by["enum"].begin(), by["enum"].end(), value) != by["enum"].end();
  }
  if (by.contains("anyOf")) {
    return std::any_of(by["anyOf"].begin(), by["anyOf"].end(),
                       [&](const Json& way) { return is_valid(value, way); });
  }
  if (!is_type(value, by["type"])) return false;
  if (value.is_number() && by.contains("minimum")) {
    const double number = value.get<double>();
    if (number < by["minimum"].get<double>() || number > by["maximum"].get<double>()) return false;
  }
  if (value.is_string() && by.contains("maxLength")) {
    return value.get_ref<const std::string&>().size() <= 4 * by["maxLength"].get<size_t>();
  }
  if (value.is_array()) {
    return value.size() >= by.value("minItems", size_t{0}) &&
           value.size() <= by.value("maxItems", value.size()) &&
           std::all_of(value.begin(), value.end(),
                       [&](const Json& item) { return is_valid(item, by["items"]); });
  }
  if (!value.is_object()) return true;
  for (const Json& name : by["required"]) {
    if (!value.contains(name.get<std::string>())) return false;
  }
  for (const auto& item : value.items()) {
    if (!by["properties"].contains(item.key())) return false;
    if (!is_valid(item.value(), by["properties"][item.key()])) return false;
  }
  return true;
}

const char* const kSchemas[] = {
    R"({"type": "object", "properties": {"answer": {"type": "integer", "minimum": -50,
        "maximum": 1000}}, "required": ["answer"], "additionalProperties": false})",
    R"({"type": "object", "properties": {"day": {"enum": ["Monday", "Friday", 7, null]},
        "note": {"type": "string", "maxLength": 12}, "sure": {"type": "boolean"}},
        "required": ["day", "sure"], "additionalProperties": false})",
    R"({"type": "array", "items": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 9.5},
        {"type": "string", "maxLength": 5}]}, "minItems": 2, "maxItems": 4})",
    R"({"type": "object", "properties": {"items": {"type": "array", "minItems": 1, "maxItems": 3,
        "items": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8},
        "count": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["name", "count"], "additionalProperties": false}}},
        "required": ["items"], "additionalProperties": false})",
};

void expect_valid_json(const std::string& text, const std::string& by) {
  const Result<Json> value = parse_json(text);
  ASSERT_TRUE(value.ok()) << text;
  EXPECT_TRUE(is_valid(*value, *parse_json(by))) << text << "\n  by " << by;
}

TEST(Constraint, SchemasHoldGreedilyAndDrawnWithAndWithoutThoughts) {
  for (const char* by : kSchemas) {
    for (const bool thinking : {false, true}) {
      for (uint64_t seed = 0; seed < 4; ++seed) {
        Request request = chat("What is 347 + 589?", thinking, schema(by));
        request.sampling.temperature = seed == 0 ? 0 : 1.2;
        request.sampling.seed = seed;
        const Completion completion = complete(constraint_engine(), request);
        // Hot thoughts may fill the whole context; an answer never does.
        if (thinking && completion.finish.reason == FinishReason::kLength) continue;
        EXPECT_EQ(completion.finish.reason, FinishReason::kStop);
        expect_valid_json(completion.text, by);
        if (thinking && seed == 0) {
          EXPECT_NE(completion.reasoning.find("so 936"), std::string::npos) << completion.reasoning;
        }
      }
    }
  }
}

TEST(Constraint, TheAnswerStaysTheModelsOwn) {
  const std::string by = kSchemas[0];
  const Completion completion =
      complete(constraint_engine(), chat("What is 347 + 589?", true, schema(by)));
  EXPECT_NE(completion.text.find("\"answer\""), std::string::npos);
  // Nothing but what it would have said anyway: the very same tokens.
  Request request = chat("What is 347 + 589?", true, std::nullopt);
  const Completion free = complete(constraint_engine(), request);
  request.constraint = {
      .kind = Constraint::kRegex, .text = "The answer is [0-9]+\\.", .choices = {}};
  EXPECT_EQ(complete(constraint_engine(), request).tokens, free.tokens);
}

TEST(Constraint, RegexChoiceAndAnyObject) {
  Request request = chat("Hello!", false, Constraint{Constraint::kRegex, "[A-C]{3}-[0-9]{2}", {}});
  Completion completion = complete(constraint_engine(), request);
  ASSERT_EQ(completion.text.size(), 6u) << completion.text;
  EXPECT_EQ(completion.text[3], '-');
  EXPECT_EQ(completion.finish.reason, FinishReason::kStop);

  request.constraint = Constraint{Constraint::kChoice, {}, {"never", "yes", "no"}};
  request.stop.min_tokens = 40;  // what can't go on ends all the same
  request.stop.ignore_eos = true;
  completion = complete(constraint_engine(), request);
  EXPECT_TRUE(completion.text == "never" || completion.text == "yes" || completion.text == "no");
  EXPECT_EQ(completion.finish.reason, FinishReason::kStop);

  request = chat("Hello!", false, Constraint{Constraint::kJsonObject, {}, {}});
  completion = complete(constraint_engine(), request);
  EXPECT_EQ(completion.text.front(), '{');
  if (completion.finish.reason == FinishReason::kStop) {
    EXPECT_TRUE(parse_json(completion.text).ok());
  }
}

TEST(Constraint, TextPromptsAreHeldFromTheFirstToken) {
  Request request = greedy("What is 347 + 589? <think>", 0);
  request.constraint = Constraint{Constraint::kChoice, {}, {"936", "937"}};
  const Completion completion = complete(constraint_engine(), request);
  EXPECT_TRUE(completion.text == "936" || completion.text == "937") << completion.text;
}

constexpr const char* kTools = R"([
    {"type": "function", "function": {"name": "get_weather", "description": "Weather",
      "strict": true, "parameters":
      {"type": "object", "properties": {"city": {"type": "string", "maxLength": 10},
       "unit": {"enum": ["celsius", "kelvin"]}}, "required": ["city", "unit"],
       "additionalProperties": false}}},
    {"type": "function", "function": {"name": "add", "description": "Sum", "parameters":
      {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99}},
       "required": ["a"], "additionalProperties": false}}}])";

Request tool_chat(const std::string& text, ToolChoice choice, bool thinking) {
  Request request = chat(text, thinking, std::nullopt);
  std::get<ChatPrompt>(request.prompt).tools_json = kTools;
  request.tool_choice = std::move(choice);
  return request;
}

void expect_calls_valid(const Completion& completion) {
  const Result<Json> tools = parse_json(kTools);
  for (const ToolCall& call : completion.tool_calls) {
    bool found = false;
    for (const Json& tool : *tools) {
      if (tool["function"]["name"] != call.name) continue;
      found = true;
      expect_valid_json(call.arguments, tool["function"]["parameters"].dump());
    }
    EXPECT_TRUE(found) << call.name;
  }
}

TEST(Constraint, RequiredAndNamedToolsAreCalledWithValidArguments) {
  for (const bool thinking : {false, true}) {
    for (uint64_t seed = 0; seed < 3; ++seed) {
      for (const ToolChoice::Kind kind : {ToolChoice::kRequired, ToolChoice::kNamed}) {
        Request request = tool_chat("Hello!", {.kind = kind, .name = "get_weather"}, thinking);
        request.sampling.temperature = seed == 0 ? 0 : 1.0;
        request.sampling.seed = seed;
        const Completion completion = complete(constraint_engine(), request);
        if (completion.finish.reason == FinishReason::kLength) continue;  // never came to an end
        EXPECT_EQ(completion.finish.reason, FinishReason::kToolCalls);
        EXPECT_EQ(completion.text, "");
        ASSERT_FALSE(completion.tool_calls.empty());
        if (kind == ToolChoice::kNamed) {
          EXPECT_EQ(completion.tool_calls.size(), 1u);
          EXPECT_EQ(completion.tool_calls[0].name, "get_weather");
        }
        expect_calls_valid(completion);
      }
    }
  }
}

TEST(Constraint, FreeToolsLeaveTextAsItIsAndHoldCalls) {
  for (const char* text : {"Hello!", "What is 3 + 4?", "What is the weather in Paris?"}) {
    Request request = tool_chat(text, {}, false);
    const Completion held = complete(constraint_engine(), request);
    expect_calls_valid(held);
    // Where it calls nothing, nothing has changed.
    Json tools = *parse_json(kTools);
    tools[0]["function"].erase("strict");
    std::get<ChatPrompt>(request.prompt).tools_json = tools.dump();
    const Completion free = complete(constraint_engine(), request);
    EXPECT_EQ(held.tool_calls.size(), free.tool_calls.size());
    EXPECT_EQ(held.text, free.text);
  }
  Request request = tool_chat("Hello!", {}, false);
  request.constraint = Constraint{Constraint::kChoice, {}, {"yes", "no"}};
  const Completion choice = complete(constraint_engine(), request);
  EXPECT_TRUE(choice.text == "yes" || choice.text == "no" || !choice.tool_calls.empty());
  expect_calls_valid(choice);
}

TEST(Constraint, ToolsThatCantBeHeldAreRefusedWhereTheyMust) {
  Request request = tool_chat("Hello!", {.kind = ToolChoice::kNamed, .name = "other"}, false);
  Result<TokenStream> stream = constraint_engine().submit(request);
  ASSERT_FALSE(stream.ok());
  EXPECT_EQ(stream.error().message.rfind("tool_choice: ", 0), 0u) << stream.error().message;
  for (const bool strict : {true, false}) {
    Json tools = *parse_json(kTools);
    tools[0]["function"]["strict"] = strict;
    tools[0]["function"]["parameters"]["properties"]["city"] = {{"type", "integer"},
                                                                {"multipleOf", 3}};
    std::get<ChatPrompt>(request.prompt).tools_json = tools.dump();
    request.tool_choice = {.kind = ToolChoice::kRequired, .name = {}};
    stream = constraint_engine().submit(request);
    EXPECT_EQ(stream.ok(), !strict);
    if (stream.ok()) continue;
    const std::string& message = stream.error().message;
    EXPECT_EQ(message.rfind("tools[0].function.parameters: \"multipleOf\"", 0), 0u) << message;
  }
}

std::string refusal(Constraint constraint) {
  const Result<TokenStream> stream =
      constraint_engine().submit(chat("Hello!", false, std::move(constraint)));
  return stream.ok() ? "accepted" : stream.error().message;
}

TEST(Constraint, WhatCantBeHonouredIsRefusedByName) {
  const std::string message = refusal(
      schema(R"({"type": "object", "properties": {"n": {"type": "integer", "multipleOf": 7}}})"));
  EXPECT_EQ(message.rfind("schema: \"multipleOf\" at #/properties/n", 0), 0u) << message;
  EXPECT_EQ(refusal(schema("{")).rfind("schema: ", 0), 0u);
  EXPECT_EQ(refusal({Constraint::kRegex, "(?=a)b", {}}).rfind("regex: ", 0), 0u);
  EXPECT_EQ(refusal({Constraint::kChoice, {}, {}}).rfind("choice: ", 0), 0u);
  // Bombs end in an error, soon.
  EXPECT_NE(refusal({Constraint::kRegex, "((a{1,900}){1,900}){1,900}", {}}), "accepted");
  Json product = {{"allOf", Json::array()}};
  for (int i = 0; i < 8; ++i) {
    Json ways = Json::array();
    for (int k = 0; k < 8; ++k) {
      const std::string name = "p" + std::to_string(8 * i + k);
      ways.push_back({{"type", "object"}, {"properties", {{name, {{"type", "null"}}}}}});
    }
    product["allOf"].push_back({{"anyOf", std::move(ways)}});
  }
  EXPECT_NE(refusal(schema(product.dump())), "accepted");
}

}  // namespace
}  // namespace ferry::engine
