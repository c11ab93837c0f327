#include "server/api/responses.h"

#include <gtest/gtest.h>

#include "server/api/testing.h"

namespace ferry::server::api {
namespace {

Json function_tool(const char* name) {
  return {{"type", "function"}, {"name", name}, {"parameters", {{"type", "object"}}}};
}

// The items of the whole answer to `body` once the model has said `events`.
Json output_of(const Json& body, std::vector<StreamEvent> events) {
  const ServedModel model = fake_model();
  auto reply = responses(model, body.dump());
  EXPECT_TRUE(reply.ok()) << reply.error().message;
  events.push_back(finish_event(FinishReason::kStop));
  return Json::parse(drive(*std::get<Job>(*reply).answer, events))["output"];
}

TEST(Responses, AStreamNumbersItsEventsAndEndsCompleted) {
  const ServedModel model = fake_model();
  auto reply = responses(model, R"({"input": "Hi", "stream": true})");
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  const auto events =
      parse_events(drive(*std::get<Job>(*reply).answer,
                         {reasoning_event("hm"), text_event("Hel"), text_event("lo"),
                          call_event(0, "call_1", "f", "{}"), finish_event(FinishReason::kStop)}));
  ASSERT_FALSE(events.empty());
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].data["sequence_number"], i);
    EXPECT_EQ(events[i].data["type"], events[i].name);
  }
  EXPECT_EQ(events.back().name, "response.completed");
  const Json& output = events.back().data["response"]["output"];
  ASSERT_EQ(output.size(), 3u);
  EXPECT_EQ(output[0]["content"][0]["text"], "hm");
  EXPECT_EQ(output[1]["content"][0]["text"], "Hello");
  EXPECT_EQ(output[2]["name"], "f");
}

TEST(Responses, CallsFindTheirNamespace) {
  Json body{{"input", "Hi"},
            {"tools",
             {function_tool("plain"),
              {{"type", "namespace"},
               {"name", "a"},
               {"tools", {function_tool("one"), function_tool("both")}}},
              {{"type", "namespace"}, {"name", "b"}, {"tools", {function_tool("both")}}}}}};
  const Json output = output_of(body, {call_event(0, "c0", "a.one", "{}"),
                                       call_event(1, "c1", "one", "{}"),    // only a has one
                                       call_event(2, "c2", "both", "{}"),   // whose?
                                       call_event(3, "c3", "plain", "{}"),  // in none
                                       call_event(4, "c4", "nobody", "{}")});
  ASSERT_EQ(output.size(), 5u);
  for (size_t i : {0u, 1u}) {
    EXPECT_EQ(output[i]["name"], "one");
    EXPECT_EQ(output[i]["namespace"], "a");
  }
  for (size_t i : {2u, 3u, 4u}) EXPECT_FALSE(output[i].contains("namespace")) << output[i];
  EXPECT_EQ(output[2]["name"], "both");
}

TEST(Responses, CustomToolsGetTheirText) {
  const Json body{{"input", "Hi"}, {"tools", {{{"type", "custom"}, {"name", "patch"}}}}};
  const Json output = output_of(body, {call_event(0, "c0", "patch", R"({"input": "a\nb"})")});
  ASSERT_EQ(output.size(), 1u);
  EXPECT_EQ(output[0]["type"], "custom_tool_call");
  EXPECT_EQ(output[0]["input"], "a\nb");
}

TEST(Responses, WhatIsKeptNowhereIsRefused) {
  const ServedModel model = fake_model();
  for (const char* field : {R"("previous_response_id": "resp_1")", R"("store": true)",
                            R"("background": true)", R"("conversation": "c")"}) {
    const auto reply = responses(model, "{\"input\": \"Hi\", " + std::string(field) + "}");
    ASSERT_FALSE(reply.ok()) << field;
    EXPECT_EQ(reply.error().status, 400);
    EXPECT_NE(std::string(field).find(reply.error().param), std::string::npos);
  }
}

}  // namespace
}  // namespace ferry::server::api
