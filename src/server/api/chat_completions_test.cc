#include "server/api/chat_completions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/api/testing.h"

namespace ferry::server::api {
namespace {

const ServedModel kModel = fake_model();

Json user_body() {
  return {{"model", "fake"}, {"messages", {{{"role", "user"}, {"content", "hi"}}}}};
}

Job job_of(const Json& body) {
  auto reply = chat_completions(kModel, body.dump());
  EXPECT_TRUE(reply.ok()) << (reply.ok() ? "" : reply.error().message);
  return std::get<Job>(std::move(reply).value());
}

const ChatPrompt& chat_of(const Job& job) { return std::get<ChatPrompt>(job.requests[0].prompt); }

TEST(ChatCompletions, WholeAnswer) {
  Job job = job_of(user_body());
  ASSERT_EQ(job.requests.size(), 1U);
  EXPECT_FALSE(job.stream);
  const Json json =
      Json::parse(drive(*job.answer, {reasoning_event("hm"), text_event("Hel"), text_event("lo"),
                                      finish_event(FinishReason::kStop)}));
  EXPECT_EQ(json["id"], "chatcmpl-1");
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["model"], "fake");
  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["message"]["role"], "assistant");
  EXPECT_EQ(choice["message"]["content"], "Hello");
  EXPECT_EQ(choice["message"]["reasoning_content"], "hm");
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_TRUE(choice["logprobs"].is_null());
  EXPECT_EQ(json["usage"]["prompt_tokens"], 10);
  EXPECT_EQ(json["usage"]["total_tokens"], 15);
  EXPECT_EQ(json["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
  EXPECT_EQ(json["usage"]["completion_tokens_details"]["reasoning_tokens"], 2);
  EXPECT_EQ(json["usage"]["prompt_cache_hit_tokens"], 4);
  EXPECT_EQ(json["usage"]["prompt_cache_miss_tokens"], 6);
}

TEST(ChatCompletions, StreamedAnswer) {
  Json body = user_body();
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  Job job = job_of(body);
  EXPECT_TRUE(job.stream);
  const auto events = parse_events(drive(
      *job.answer, {reasoning_event("hm"), text_event("Hi"), call_event(0, "call_1", "f", "{"),
                    call_event(0, "", "", "}"), finish_event(FinishReason::kToolCalls)}));
  ASSERT_EQ(events.size(), 8U);
  const auto delta = [&](size_t i) { return events[i].data["choices"][0]["delta"]; };
  EXPECT_EQ(delta(0), Json({{"role", "assistant"}, {"content", ""}}));
  EXPECT_EQ(delta(1), Json({{"reasoning_content", "hm"}}));
  EXPECT_EQ(delta(2), Json({{"content", "Hi"}}));
  EXPECT_EQ(delta(3)["tool_calls"][0]["id"], "call_1");
  EXPECT_EQ(delta(3)["tool_calls"][0]["type"], "function");
  EXPECT_EQ(delta(3)["tool_calls"][0]["function"]["name"], "f");
  EXPECT_EQ(delta(4)["tool_calls"][0], Json({{"index", 0}, {"function", {{"arguments", "}"}}}}));
  EXPECT_EQ(events[5].data["choices"][0]["finish_reason"], "tool_calls");
  EXPECT_EQ(delta(5), Json::object());
  for (size_t i = 0; i < 6; ++i) EXPECT_TRUE(events[i].data["usage"].is_null());
  EXPECT_EQ(events[6].data["choices"], Json::array());
  EXPECT_EQ(events[6].data["usage"]["completion_tokens"], 5);
  EXPECT_TRUE(events[7].data.is_null());
}

TEST(ChatCompletions, FailureInTheMiddleIsAnErrorEventWithoutDone) {
  Json body = user_body();
  body["stream"] = true;
  Job job = job_of(body);
  StreamEvent broken = finish_event(FinishReason::kError);
  broken.finish->error = Error{ErrorKind::kDevice, "the chip is gone"};
  const auto events = parse_events(drive(*job.answer, {text_event("Hi"), broken}));
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[2].data["error"]["message"], "the chip is gone");
  ASSERT_TRUE(job.answer->failure().has_value());
  EXPECT_EQ(job.answer->failure()->status, 500);
}

TEST(ChatCompletions, LogprobsLeaveOutTheEndAndKeepThoughtsApart) {
  Json body = user_body();
  body["logprobs"] = true;
  body["top_logprobs"] = 1;
  Job job = job_of(body);
  EXPECT_EQ(job.requests[0].sampling.logprobs, 1);
  StreamEvent event = text_event("b");
  event.tokens = {'a', 'b'};
  event.num_reasoning_tokens = 1;
  event.logprobs = {{{'a', -0.5}, {{'a', -0.5}}}, {{'b', -1.5}, {{'c', -0.25}}}};
  StreamEvent end = finish_event(FinishReason::kStop);
  end.tokens = {257};
  end.logprobs = {{{257, -0.1}, {}}};
  const Json json = Json::parse(drive(*job.answer, {event, end}));
  const Json& logprobs = json["choices"][0]["logprobs"];
  ASSERT_EQ(logprobs["content"].size(), 1U);
  EXPECT_EQ(logprobs["content"][0]["token"], "b");
  EXPECT_EQ(logprobs["content"][0]["bytes"], Json::array({98}));
  EXPECT_EQ(logprobs["content"][0]["top_logprobs"][0]["token"], "c");
  ASSERT_EQ(logprobs["reasoning_content"].size(), 1U);
  EXPECT_EQ(logprobs["reasoning_content"][0]["token"], "a");
}

TEST(ChatCompletions, ChoicesDrawApartAndCountThePromptOnce) {
  Json body = user_body();
  body["n"] = 3;
  body["seed"] = -1;
  Job job = job_of(body);
  ASSERT_EQ(job.requests.size(), 3U);
  EXPECT_EQ(job.requests[0].sampling.seed, UINT64_MAX);
  EXPECT_EQ(job.requests[2].sampling.seed, 1U);
  for (size_t i = 0; i < 3; ++i) {
    job.answer->event(2 - i, finish_event(FinishReason::kLength));
  }
  const Json json = Json::parse(job.answer->end());
  EXPECT_EQ(json["choices"].size(), 3U);
  EXPECT_EQ(json["choices"][2]["index"], 2);
  EXPECT_EQ(json["choices"][2]["finish_reason"], "length");
  EXPECT_EQ(json["usage"]["prompt_tokens"], 10);
  EXPECT_EQ(json["usage"]["completion_tokens"], 15);
}

TEST(ChatCompletions, MessagesReachTheTemplateInOneForm) {
  const Json call{{"id", "c1"},
                  {"type", "function"},
                  {"function", {{"name", "f"}, {"arguments", "{\"a\":1}"}}}};
  Json body = user_body();
  body["messages"] = {
      {{"role", "developer"},
       {"content", {{{"type", "text"}, {"text", "be "}}, {{"type", "text"}, {"text", "kind"}}}}},
      {{"role", "user"}, {"content", "q"}, {"name", "ann"}, {"unknown", 1}},
      {{"role", "assistant"}, {"content", ""}, {"reasoning_content", "r"}, {"tool_calls", {call}}},
      {{"role", "tool"}, {"tool_call_id", "c1"}, {"content", "7"}},
      {{"role", "assistant"}, {"content", "so"}, {"prefix", true}}};
  Job job = job_of(body);
  EXPECT_TRUE(chat_of(job).continue_last);
  EXPECT_EQ(Json::parse(chat_of(job).messages_json),
            Json({{{"role", "system"}, {"content", "be kind"}},
                  {{"role", "user"}, {"content", "q"}, {"name", "ann"}},
                  {{"role", "assistant"},
                   {"content", nullptr},
                   {"reasoning_content", "r"},
                   {"tool_calls", {call}}},
                  {{"role", "tool"}, {"content", "7"}, {"tool_call_id", "c1"}},
                  {{"role", "assistant"}, {"content", "so"}}}));
}

TEST(ChatCompletions, FieldsBecomeTheRequest) {
  Json body = user_body();
  body.update({{"temperature", 0.5},
               {"top_p", 0},
               {"top_k", -1},
               {"min_p", 0.1},
               {"presence_penalty", -1},
               {"frequency_penalty", 1},
               {"repetition_penalty", 1.5},
               {"logit_bias", {{"65", -100}}},
               {"max_tokens", 7},
               {"max_completion_tokens", 9},
               {"stop", {"a", "b"}},
               {"user", "u"},
               {"user_id", "v"},
               {"thinking", {{"type", "disabled"}}},
               {"reasoning_effort", "high"},
               {"chat_template_kwargs", {{"x", 1}}},
               {"response_format", {{"type", "json_object"}}}});
  const Job job = job_of(body);
  const Request& request = job.requests[0];
  EXPECT_EQ(request.sampling.temperature, 0.5);
  EXPECT_GT(request.sampling.top_p, 0);
  EXPECT_LT(request.sampling.top_p, 1e-6);
  EXPECT_EQ(request.sampling.top_k, 0);
  EXPECT_EQ(request.sampling.logit_bias[0].first, 65);
  EXPECT_EQ(request.stop.max_tokens, 9);
  EXPECT_EQ(request.stop.strings, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(request.cache_scope, "v");
  EXPECT_EQ(chat_of(job).thinking, false);
  EXPECT_EQ(Json::parse(chat_of(job).extra_json), Json({{"x", 1}, {"reasoning_effort", "high"}}));
  ASSERT_TRUE(request.constraint.has_value());
  EXPECT_EQ(request.constraint->kind, Constraint::kJsonObject);
}

TEST(ChatCompletions, ToolsAndChoices) {
  Json body = user_body();
  body["tools"] = {{{"type", "function"}, {"function", {{"name", "f"}}}},
                   {{"type", "function"}, {"function", {{"name", "g"}, {"strict", true}}}}};
  body["tool_choice"] = {{"type", "function"}, {"function", {{"name", "g"}}}};
  body["parallel_tool_calls"] = false;
  const Job named = job_of(body);
  EXPECT_EQ(named.requests[0].tool_choice.kind, ToolChoice::kNamed);
  EXPECT_EQ(named.requests[0].tool_choice.name, "g");
  EXPECT_FALSE(named.requests[0].parallel_tool_calls);
  // Templates write every part of a function down.
  EXPECT_EQ(Json::parse(chat_of(named).tools_json)[0]["function"]["parameters"]["type"], "object");
  body["tool_choice"] = "none";
  EXPECT_TRUE(chat_of(job_of(body)).tools_json.empty());
  body["tool_choice"] = {
      {"type", "allowed_tools"},
      {"allowed_tools",
       {{"mode", "required"}, {"tools", {{{"type", "function"}, {"function", {{"name", "f"}}}}}}}}};
  const Job allowed = job_of(body);
  EXPECT_EQ(allowed.requests[0].tool_choice.kind, ToolChoice::kRequired);
  EXPECT_EQ(Json::parse(chat_of(allowed).tools_json).size(), 1U);
}

TEST(ChatCompletions, OnlyServedNamesWhereNamesAreStrict) {
  ServedModel strict = fake_model();
  strict.strict_names = true;
  Json body = user_body();
  body["model"] = "alias";
  EXPECT_TRUE(chat_completions(strict, body.dump()).ok());
  body["model"] = "other";
  const auto refused = chat_completions(strict, body.dump());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().status, 404);
  EXPECT_EQ(refused.error().code, "model_not_found");
  EXPECT_TRUE(chat_completions(kModel, body.dump()).ok());
}

TEST(ChatCompletions, RefusalsAreOneLineWhateverTheBodyHolds) {
  ServedModel strict = fake_model();
  strict.strict_names = true;
  Json body = user_body();
  body["model"] = "a\nb";
  EXPECT_THAT(chat_completions(strict, body.dump()).error().message,
              testing::HasSubstr(R"("a\x0ab")"));
  body = user_body();
  body["messages"][0]["content"] = Json::array({{{"type", "a\nb"}}});
  EXPECT_THAT(chat_completions(kModel, body.dump()).error().message,
              testing::HasSubstr(R"("a\x0ab")"));
}

}  // namespace
}  // namespace ferry::server::api
