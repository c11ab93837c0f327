// Which route a request line means. Pure: no socket, no model.
//
// The routes of the API answer with and without /v1 in front; the Anthropic ones also under
// /anthropic, completions and chat also under /beta, as DeepSeek has it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/api/api_error.h"

namespace ferry::server {

struct PageFile;

enum class RouteId : uint8_t {
  kChat,
  kCompletions,
  kResponses,
  kEmbeddings,
  kMessages,
  kCountTokens,
  kModels,
  kModel,
  kTokenize,
  kDetokenize,
  kLivez,
  kReadyz,
  kHealth,
  kVersion,
  kMetrics,
  kStats,
  kPlan,
  kPlanCatalogue,
  kPage,
};

struct Route {
  RouteId id = RouteId::kPage;
  std::string_view name;  // for logs and metrics: "chat/completions"; never what a client made up
  api::Dialect dialect = api::Dialect::kOpenAi;
  bool post = false;               // POST with a JSON body; else GET and HEAD
  bool open = false;               // answered without an API key
  bool uses_model = true;          // 503 while it is loading
  std::string model_id;            // kModel, decoded
  const PageFile* file = nullptr;  // kPage
};

// `target`: as in the request line, with a query or without.
std::optional<Route> find_route(std::string_view target);

// Without query, and without scheme and host where a proxy's form of the target has them.
std::string_view path_of_target(std::string_view target);

// The shape of errors for a path that is no route.
api::Dialect dialect_of_path(std::string_view path);

}  // namespace ferry::server
