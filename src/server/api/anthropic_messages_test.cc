#include "server/api/anthropic_messages.h"

#include <gtest/gtest.h>

#include "server/api/testing.h"

namespace ferry::server::api {
namespace {

const ServedModel kAnthropicModel = fake_model();

Json anthropic_body() {
  return {
      {"model", "fake"}, {"max_tokens", 64}, {"messages", {{{"role", "user"}, {"content", "hi"}}}}};
}

Job anthropic_job_of(const Json& body) {
  auto reply = anthropic_messages(kAnthropicModel, body.dump());
  EXPECT_TRUE(reply.ok()) << (reply.ok() ? "" : reply.error().message);
  return std::get<Job>(std::move(reply).value());
}

const ChatPrompt& anthropic_chat_of(const Job& job) {
  return std::get<ChatPrompt>(job.requests[0].prompt);
}

Json weather_tool() {
  return {{"name", "get_weather"},
          {"description", "d"},
          {"input_schema", {{"type", "object"}, {"properties", {{"city", {{"type", "string"}}}}}}}};
}

TEST(AnthropicMessages, WholeAnswer) {
  Json body = anthropic_body();
  body["thinking"] = {{"type", "enabled"}, {"budget_tokens", 1024}};
  Job job = anthropic_job_of(body);
  EXPECT_FALSE(job.stream);
  EXPECT_EQ(job.requests[0].stop.max_tokens, 64);
  EXPECT_EQ(anthropic_chat_of(job).thinking, true);
  const Json json = Json::parse(drive(
      *job.answer, {reasoning_event("hm"), text_event("Hel"), text_event("lo"),
                    call_event(0, "call_1", "get_weather", "{\"city\""),
                    call_event(0, "", "", ": \"Rome\"}"), finish_event(FinishReason::kToolCalls)}));
  const Json expected = {{"id", "msg_1"},
                         {"type", "message"},
                         {"role", "assistant"},
                         {"model", "fake"},
                         {"content",
                          {{{"type", "thinking"}, {"thinking", "hm"}, {"signature", "ZmVycnk="}},
                           {{"type", "text"}, {"text", "Hello"}},
                           {{"type", "tool_use"},
                            {"id", "call_1"},
                            {"name", "get_weather"},
                            {"input", {{"city", "Rome"}}}}}},
                         {"stop_reason", "tool_use"},
                         {"stop_sequence", nullptr},
                         {"usage",
                          {{"input_tokens", 6},
                           {"cache_creation_input_tokens", 0},
                           {"cache_read_input_tokens", 4},
                           {"output_tokens", 5}}}};
  EXPECT_EQ(json, expected);
}

TEST(AnthropicMessages, StreamedAnswer) {
  Json body = anthropic_body();
  body["stream"] = true;
  body["thinking"] = {{"type", "adaptive"}};
  Job job = anthropic_job_of(body);
  EXPECT_TRUE(job.stream);
  const auto events = parse_events(drive(
      *job.answer, {reasoning_event("h"), reasoning_event("m"), text_event("Hi"),
                    call_event(0, "call_1", "f", ""), call_event(0, "", "", "{}"),
                    call_event(1, "call_2", "g", "{}"), finish_event(FinishReason::kToolCalls)}));
  std::vector<std::string> names;
  for (const SentEvent& event : events) {
    names.push_back(event.name);
    EXPECT_EQ(event.data["type"], event.name);
  }
  const std::vector<std::string> expected = {"message_start",       "ping",
                                             "content_block_start", "content_block_delta",
                                             "content_block_delta", "content_block_delta",
                                             "content_block_stop",  "content_block_start",
                                             "content_block_delta", "content_block_stop",
                                             "content_block_start", "content_block_delta",
                                             "content_block_stop",  "content_block_start",
                                             "content_block_delta", "content_block_stop",
                                             "message_delta",       "message_stop"};
  ASSERT_EQ(names, expected);
  EXPECT_EQ(events[0].data["message"]["content"], Json::array());
  EXPECT_EQ(events[0].data["message"]["usage"]["input_tokens"], 10);
  EXPECT_TRUE(events[0].data["message"]["stop_reason"].is_null());
  EXPECT_EQ(events[2].data["content_block"]["type"], "thinking");
  EXPECT_EQ(events[4].data["delta"], Json({{"type", "thinking_delta"}, {"thinking", "m"}}));
  EXPECT_EQ(events[5].data["delta"]["type"], "signature_delta");
  EXPECT_EQ(events[7].data["index"], 1);
  EXPECT_EQ(events[8].data["delta"], Json({{"type", "text_delta"}, {"text", "Hi"}}));
  EXPECT_EQ(
      events[10].data["content_block"],
      Json({{"type", "tool_use"}, {"id", "call_1"}, {"name", "f"}, {"input", Json::object()}}));
  EXPECT_EQ(events[11].data["delta"], Json({{"type", "input_json_delta"}, {"partial_json", "{}"}}));
  EXPECT_EQ(events[13].data["index"], 3);
  EXPECT_EQ(events[16].data["delta"],
            Json({{"stop_reason", "tool_use"}, {"stop_sequence", nullptr}}));
  EXPECT_EQ(events[16].data["usage"]["output_tokens"], 5);
  EXPECT_EQ(events[16].data["usage"]["cache_read_input_tokens"], 4);
}

TEST(AnthropicMessages, ThoughtsNobodyAskedForAreLeftOut) {
  for (const bool stream : {false, true}) {
    Json body = anthropic_body();
    body["stream"] = stream;
    Job job = anthropic_job_of(body);
    EXPECT_EQ(anthropic_chat_of(job).thinking, false);
    const std::string sent = drive(*job.answer, {reasoning_event("secret"), text_event("Hi"),
                                                 finish_event(FinishReason::kStop)});
    EXPECT_EQ(sent.find("secret"), std::string::npos);
    EXPECT_NE(sent.find("end_turn"), std::string::npos);
  }
}

TEST(AnthropicMessages, StopReasons) {
  Json body = anthropic_body();
  body["stop_sequences"] = {"END"};
  Job job = anthropic_job_of(body);
  EXPECT_EQ(job.requests[0].stop.strings, std::vector<std::string>{"END"});
  StreamEvent end = finish_event(FinishReason::kStop);
  end.finish->stop_string = "END";
  Json json = Json::parse(drive(*job.answer, {text_event("a"), end}));
  EXPECT_EQ(json["stop_reason"], "stop_sequence");
  EXPECT_EQ(json["stop_sequence"], "END");
  job = anthropic_job_of(body);
  json = Json::parse(
      drive(*job.answer, {call_event(0, "c", "f", "{\"a"), finish_event(FinishReason::kLength)}));
  EXPECT_EQ(json["stop_reason"], "max_tokens");
  EXPECT_EQ(json["content"], Json::array());  // a call that was cut off is none
}

TEST(AnthropicMessages, BlocksBecomeMessages) {
  Json body = anthropic_body();
  body["system"] = {{{"type", "text"}, {"text", "be"}, {"cache_control", {{"type", "ephemeral"}}}},
                    {{"type", "text"}, {"text", "kind"}}};
  body["messages"] = Json::parse(R"([
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {"role": "assistant", "content": [
      {"type": "thinking", "thinking": "hm", "signature": "x"},
      {"type": "redacted_thinking", "data": "x"},
      {"type": "text", "text": "I look."},
      {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Rome"}},
      {"type": "tool_use", "id": "t2", "name": "get_weather", "input": {}}]},
    {"role": "user", "content": [
      {"type": "tool_result", "tool_use_id": "t1", "content": "sun"},
      {"type": "tool_result", "tool_use_id": "t2", "is_error": true,
       "content": [{"type": "text", "text": "no city"}]},
      {"type": "text", "text": "And?"}]},
    {"role": "assistant", "content": "Sun"}])");
  const Job job = anthropic_job_of(body);
  const Json expected = Json::parse(R"([
    {"role": "system", "content": "be\n\nkind"},
    {"role": "user", "content": "a\n\nb"},
    {"role": "assistant", "content": "I look.", "reasoning_content": "hm", "tool_calls": [
      {"id": "t1", "type": "function",
       "function": {"name": "get_weather", "arguments": "{\"city\":\"Rome\"}"}},
      {"id": "t2", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}]},
    {"role": "tool", "content": "sun", "tool_call_id": "t1"},
    {"role": "tool", "content": "no city", "tool_call_id": "t2"},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "Sun"}])");
  EXPECT_EQ(Json::parse(anthropic_chat_of(job).messages_json), expected);
  EXPECT_TRUE(anthropic_chat_of(job).continue_last);
}

TEST(AnthropicMessages, ToolsAndChoices) {
  Json body = anthropic_body();
  body["tools"] = {weather_tool(), {{"type", "web_search_20250305"}, {"name", "web_search"}}};
  body["tool_choice"] = {{"type", "any"}, {"disable_parallel_tool_use", true}};
  Job job = anthropic_job_of(body);
  EXPECT_EQ(job.requests[0].tool_choice.kind, ToolChoice::kRequired);
  EXPECT_FALSE(job.requests[0].parallel_tool_calls);
  const Json tools = Json::parse(anthropic_chat_of(job).tools_json);
  ASSERT_EQ(tools.size(), 1U);
  EXPECT_EQ(tools[0]["function"]["name"], "get_weather");
  EXPECT_EQ(tools[0]["function"]["parameters"], weather_tool()["input_schema"]);
  EXPECT_FALSE(tools[0]["function"].contains("input_schema"));
  body["tool_choice"] = {{"type", "tool"}, {"name", "get_weather"}};
  EXPECT_EQ(anthropic_job_of(body).requests[0].tool_choice.name, "get_weather");
  body["tool_choice"] = {{"type", "none"}};
  EXPECT_EQ(anthropic_chat_of(anthropic_job_of(body)).tools_json, "");
}

TEST(AnthropicMessages, OutputFormatsAndUsers) {
  Json body = anthropic_body();
  body["output_config"] = {{"effort", "high"},
                           {"format", {{"type", "json_schema"}, {"schema", {{"type", "object"}}}}}};
  body["metadata"] = {{"user_id", "ann"}};
  const Job job = anthropic_job_of(body);
  ASSERT_TRUE(job.requests[0].constraint.has_value());
  EXPECT_EQ(job.requests[0].constraint->kind, Constraint::kJsonSchema);
  EXPECT_EQ(job.requests[0].cache_scope, "ann");
  EXPECT_EQ(Json::parse(anthropic_chat_of(job).extra_json)["reasoning_effort"], "high");
}

TEST(AnthropicMessages, WhatIsWrongIsNamed) {
  const auto refused = [](const char* change, const char* param) {
    Json body = anthropic_body();
    body.merge_patch(Json::parse(change));
    const auto reply = anthropic_messages(kAnthropicModel, body.dump());
    ASSERT_FALSE(reply.ok()) << change;
    EXPECT_EQ(reply.error().status, 400);
    EXPECT_EQ(reply.error().param, param) << reply.error().message;
    const Json json = Json::parse(error_body(Dialect::kAnthropic, reply.error(), "req_1"));
    EXPECT_EQ(json["type"], "error");
    EXPECT_EQ(json["error"]["type"], "invalid_request_error");
    EXPECT_EQ(json["request_id"], "req_1");
  };
  refused(R"({"max_tokens": null})", "max_tokens");
  refused(R"({"max_tokens": 0})", "max_tokens");
  refused(R"({"messages": []})", "messages");
  refused(R"({"messages": [{"role": "wizard", "content": "x"}]})", "messages[0].role");
  refused(R"({"messages": [{"role": "user"}]})", "messages[0].content");
  refused(R"({"messages": [{"role": "user", "content": [{"type": "image"}]}]})",
          "messages[0].content[0].type");
  refused(R"({"messages": [{"role": "assistant", "content": "x"}]})", "messages[0]");
  refused(R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content":
          [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}]})",
          "messages[1]");
  refused(R"({"tools": [{"name": "f"}]})", "tools[0].input_schema");
  refused(R"({"tools": [{"name": "two words", "input_schema": {}}]})", "tools[0].name");
  refused(R"({"tool_choice": {"type": "any"}})", "tool_choice.type");
  refused(R"({"tool_choice": {"type": "tool", "name": "f"}})", "tool_choice.name");
  refused(R"({"thinking": {}})", "thinking.type");
  refused(R"({"system": 5})", "system");
  refused(R"({"stop_sequences": [1]})", "stop_sequences[0]");
}

TEST(AnthropicMessages, AFailureInTheMiddleIsAnErrorEvent) {
  Json body = anthropic_body();
  body["stream"] = true;
  Job job = anthropic_job_of(body);
  StreamEvent broken = finish_event(FinishReason::kError);
  broken.finish->error = Error{ErrorKind::kDevice, "the chip is gone"};
  const auto events = parse_events(drive(*job.answer, {text_event("Hi"), broken}));
  EXPECT_EQ(events.back().name, "error");
  EXPECT_EQ(events.back().data["error"],
            Json({{"type", "api_error"}, {"message", "the chip is gone"}}));
  ASSERT_TRUE(job.answer->failure().has_value());
  job = anthropic_job_of(anthropic_body());
  drive(*job.answer, {finish_event(FinishReason::kCancelled)});
  ASSERT_TRUE(job.answer->failure().has_value());
  EXPECT_EQ(job.answer->failure()->status, 503);
}

TEST(AnthropicMessages, CountTokens) {
  Json body = anthropic_body();
  body.erase("max_tokens");
  const auto reply = anthropic_count_tokens(kAnthropicModel, body.dump());
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  const Json json = Json::parse(std::get<Body>(*reply).json);
  EXPECT_EQ(json,
            Json({{"input_tokens", R"([{"role":"user","content":"hi"}])"_json.dump().size()}}));
}

}  // namespace
}  // namespace ferry::server::api
