// ServedEngine: an engine and its face towards the API dialects; what a request becomes there.
// Thread safety: every function may be called from any thread at once.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/api/exchange.h"
#include "server/api/served_model.h"
#include "server/http/routes.h"

namespace ferry::server {

struct ServedEngineOptions {
  std::vector<std::string> names;  // empty: the engine's own
  bool strict_names = false;
  std::optional<bool> thinking;  // where a request says nothing
};

class ServedEngine {
 public:
  ServedEngine(Engine engine, const ServedEngineOptions& options);
  ServedEngine(const ServedEngine&) = delete;
  ServedEngine& operator=(const ServedEngine&) = delete;

  struct Started {
    api::Job job;
    std::vector<TokenStream> streams;
  };
  using Outcome = std::variant<api::ApiError, api::Body, Started>;
  using Prepared = std::variant<api::ApiError, api::Body, api::Job>;
  // A route that needs the model: all of its answer, or the job that will give it.
  Prepared prepare(const Route& route, std::string_view body) const;
  // Submits a job; may take long where it has schemas (schema_costs.h).
  Outcome begin(api::Job job) const;

  const Engine& engine() const { return engine_; }
  const std::string& name() const { return model_.name(); }

 private:
  api::ApiResult<api::Reply> reply(const Route& route, std::string_view body) const;

  Engine engine_;
  api::ServedModel model_;  // refers to engine_
};

}  // namespace ferry::server
