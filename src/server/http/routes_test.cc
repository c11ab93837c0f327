// Paths to routes, and those that are none.
#include "server/http/routes.h"

#include <gtest/gtest.h>

namespace ferry::server {
namespace {

using api::Dialect;

void expect_route(const char* target, RouteId id, Dialect dialect = Dialect::kOpenAi) {
  const auto route = find_route(target);
  ASSERT_TRUE(route.has_value()) << target;
  EXPECT_EQ(route->id, id) << target;
  EXPECT_EQ(route->dialect, dialect) << target;
}

TEST(Routes, WithAndWithoutPrefixes) {
  expect_route("/v1/chat/completions", RouteId::kChat);
  expect_route("/chat/completions?a=b", RouteId::kChat);
  expect_route("/beta/chat/completions", RouteId::kChat);
  expect_route("/beta/v1/completions", RouteId::kCompletions);
  expect_route("http://host:80/v1/responses", RouteId::kResponses);
  expect_route("/v1/messages", RouteId::kMessages, Dialect::kAnthropic);
  expect_route("/anthropic/v1/messages/count_tokens", RouteId::kCountTokens, Dialect::kAnthropic);
  expect_route("/anthropic/v1/models", RouteId::kModels, Dialect::kAnthropic);
  expect_route("/plan", RouteId::kPlan);
  expect_route("/v1/plan/catalogue", RouteId::kPlanCatalogue);
  expect_route("/", RouteId::kPage);
  expect_route("/?x", RouteId::kPage);
  expect_route("http://host", RouteId::kPage);
  const auto model = find_route("/v1/models/org%2Fname%zz");
  ASSERT_TRUE(model.has_value());
  EXPECT_EQ(model->model_id, "org/name%zz");
}

TEST(Routes, EverythingElseIsNone) {
  for (const char* target :
       {"", "v1", "/v1", "/v1/", "//v1/models", "/v1/v1/models", "/v1/models/", "/beta/models",
        "/beta/models/a", "/anthropic/chat/completions", "/chat/completions/", "/metrics/x",
        "/plan/", "/anthropic/plan", "/beta/plan", "*", "/../etc/passwd"}) {
    EXPECT_FALSE(find_route(target).has_value()) << target;
  }
  EXPECT_EQ(dialect_of_path("/anthropic/v1/messages/batches"), Dialect::kAnthropic);
  EXPECT_EQ(dialect_of_path("/v1/nothing"), Dialect::kOpenAi);
}

}  // namespace
}  // namespace ferry::server
