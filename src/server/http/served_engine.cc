// See served_engine.h.
#include "server/http/served_engine.h"

#include <utility>

#include "server/api/anthropic_messages.h"
#include "server/api/chat_completions.h"
#include "server/api/completions.h"
#include "server/api/embeddings.h"
#include "server/api/model_routes.h"
#include "server/api/responses.h"
#include "server/http/job_run.h"

namespace ferry::server {
namespace {

std::vector<std::string> names_or_own(std::vector<std::string> names, const Engine& engine) {
  if (names.empty()) names.push_back(engine.info().name);
  return names;
}

}  // namespace

ServedEngine::ServedEngine(Engine engine, const ServedEngineOptions& options)
    : engine_(std::move(engine)),
      model_(api::serve_engine(engine_, names_or_own(options.names, engine_))) {
  model_.strict_names = options.strict_names;
  model_.thinking = options.thinking;
}

api::ApiResult<api::Reply> ServedEngine::reply(const Route& route, std::string_view body) const {
  switch (route.id) {
    case RouteId::kChat: return api::chat_completions(model_, body);
    case RouteId::kCompletions: return api::completions(model_, body);
    case RouteId::kResponses: return api::responses(model_, body);
    case RouteId::kMessages: return api::anthropic_messages(model_, body);
    case RouteId::kCountTokens: return api::anthropic_count_tokens(model_, body);
    case RouteId::kEmbeddings: return api::embeddings(model_, body);
    case RouteId::kTokenize: return api::tokenize_text(model_, body);
    case RouteId::kDetokenize: return api::detokenize_ids(model_, body);
    case RouteId::kModels: return api::list_models(model_);
    case RouteId::kModel: return api::get_model(model_, route.model_id);
    default: break;
  }
  return api::ApiError{404, "this route is not served here", {}, "not_found"};
}

ServedEngine::Prepared ServedEngine::prepare(const Route& route, std::string_view body) const {
  api::ApiResult<api::Reply> made = reply(route, body);
  if (!made.ok()) return std::move(made).error();
  if (auto* whole = std::get_if<api::Body>(&*made)) return std::move(*whole);
  return std::get<api::Job>(std::move(*made));
}

ServedEngine::Outcome ServedEngine::begin(api::Job job) const {
  auto streams = submit_all(engine_, job);
  if (!streams.ok()) return std::move(streams).error();
  return Started{std::move(job), std::move(*streams)};
}

}  // namespace ferry::server
