// See routes.h.
#include "server/http/routes.h"

#include <array>

#include "server/page.h"

namespace ferry::server {
namespace {

struct Entry {
  std::string_view path;
  RouteId id;
  bool post = false;
  bool open = false;
  bool uses_model = true;
};

constexpr std::array<Entry, 17> kTable = {{
    {"chat/completions", RouteId::kChat, true},
    {"completions", RouteId::kCompletions, true},
    {"responses", RouteId::kResponses, true},
    {"embeddings", RouteId::kEmbeddings, true},
    {"messages", RouteId::kMessages, true},
    {"messages/count_tokens", RouteId::kCountTokens, true},
    {"tokenize", RouteId::kTokenize, true},
    {"detokenize", RouteId::kDetokenize, true},
    {"models", RouteId::kModels},
    {"livez", RouteId::kLivez, false, true, false},
    {"readyz", RouteId::kReadyz, false, true, false},
    {"health", RouteId::kHealth, false, true, false},
    {"version", RouteId::kVersion, false, true, false},
    {"metrics", RouteId::kMetrics, false, false, false},
    {"stats", RouteId::kStats, false, false, false},
    {"plan", RouteId::kPlan, true, false, false},
    {"plan/catalogue", RouteId::kPlanCatalogue, false, false, false},
}};

// Removes `prefix` where a '/' follows it.
bool strip(std::string_view& path, std::string_view prefix) {
  if (!path.starts_with(prefix) || path.size() <= prefix.size() || path[prefix.size()] != '/') {
    return false;
  }
  path.remove_prefix(prefix.size());
  return true;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Anything that is no escape stands for itself.
std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                        hex_digit(text[i + 2]) >= 0;
    if (!escape) {
      out += text[i];
      continue;
    }
    out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
    i += 2;
  }
  return out;
}

bool is_anthropic(RouteId id) { return id == RouteId::kMessages || id == RouteId::kCountTokens; }

Route page_route(const PageFile* file) {
  return {.id = RouteId::kPage,
          .name = "page",
          .open = true,
          .uses_model = false,
          .model_id = {},
          .file = file};
}

}  // namespace

std::string_view path_of_target(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const size_t slash = target.find('/', scheme.size());
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
    break;
  }
  return target.substr(0, target.find_first_of("?#"));
}

api::Dialect dialect_of_path(std::string_view path) {
  strip(path, "/anthropic");
  strip(path, "/v1");
  const bool messages = path == "/messages" || path.starts_with("/messages/");
  return messages ? api::Dialect::kAnthropic : api::Dialect::kOpenAi;
}

std::optional<Route> find_route(std::string_view target) {
  std::string_view path = path_of_target(target);
  if (const PageFile* file = find_page_file(path)) return page_route(file);
  const bool anthropic = strip(path, "/anthropic");
  const bool beta = strip(path, "/beta");
  strip(path, "/v1");
  if (path.empty() || path.front() != '/') return std::nullopt;
  path.remove_prefix(1);
  Route route;
  if (path.starts_with("models/") && path.size() > 7 && !beta) {
    route.id = RouteId::kModel;
    route.name = "models/{id}";
    route.model_id = percent_decoded(path.substr(7));
    if (anthropic) route.dialect = api::Dialect::kAnthropic;
    return route;
  }
  for (const Entry& entry : kTable) {
    if (entry.path != path) continue;
    const bool completes = entry.id == RouteId::kChat || entry.id == RouteId::kCompletions;
    if (beta && !completes) return std::nullopt;
    if (anthropic && !is_anthropic(entry.id) && entry.id != RouteId::kModels) return std::nullopt;
    route.id = entry.id;
    route.name = entry.path;
    route.post = entry.post;
    route.open = entry.open;
    route.uses_model = entry.uses_model;
    if (anthropic || is_anthropic(entry.id)) route.dialect = api::Dialect::kAnthropic;
    return route;
  }
  return std::nullopt;
}

}  // namespace ferry::server
