#include "server/http/schema_costs.h"

#include <gtest/gtest.h>

namespace ferry::server {
namespace {

api::Job job_with(const std::string& tools, ToolChoice::Kind choice,
                  std::optional<Constraint> constraint = std::nullopt) {
  ChatPrompt chat;
  chat.tools_json = tools;
  Request request;
  request.prompt = chat;
  request.tool_choice.kind = choice;
  request.constraint = std::move(constraint);
  api::Job job;
  job.requests.push_back(std::move(request));
  return job;
}

TEST(SchemaCosts, WhatHasToBeCompiled) {
  const std::string loose = R"([{"type":"function","function":{"name":"f"}}])";
  const std::string strict = R"([{"type":"function","function":{"name":"f","strict":true}}])";
  EXPECT_EQ(schemas_of(job_with("", ToolChoice::kAuto)), "");
  EXPECT_EQ(schemas_of(job_with(loose, ToolChoice::kAuto)), "");
  EXPECT_EQ(schemas_of(job_with(strict, ToolChoice::kNone)), "");
  EXPECT_EQ(
      schemas_of(job_with("", ToolChoice::kAuto, Constraint{Constraint::kJsonObject, {}, {}})), "");
  const std::string required = schemas_of(job_with(loose, ToolChoice::kRequired));
  EXPECT_NE(required, "");
  EXPECT_NE(required, schemas_of(job_with(loose, ToolChoice::kNamed)));
  EXPECT_NE(schemas_of(job_with(strict, ToolChoice::kAuto)), "");
  EXPECT_NE(schemas_of(job_with("", ToolChoice::kAuto, Constraint{Constraint::kRegex, "a", {}})),
            schemas_of(job_with("", ToolChoice::kAuto, Constraint{Constraint::kRegex, "b", {}})));
}

TEST(SchemaCosts, QuickOnesAreRememberedUntilTheyAreSlow) {
  SchemaCosts costs;
  EXPECT_FALSE(costs.is_quick("a"));
  costs.note("a", 0.001);
  EXPECT_TRUE(costs.is_quick("a"));
  costs.note("a", 1);
  EXPECT_FALSE(costs.is_quick("a"));
  costs.note("a", 0.001);
  for (int i = 0; i < 300; ++i) costs.note("b" + std::to_string(i), 0.001);
  EXPECT_FALSE(costs.is_quick("a"));  // long ago
  EXPECT_TRUE(costs.is_quick("b299"));
  const std::string long_one(100'000, 'x');
  costs.note(long_one, 0.001);
  EXPECT_FALSE(costs.is_quick(long_one));
}

}  // namespace
}  // namespace ferry::server
