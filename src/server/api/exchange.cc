// See exchange.h.
#include "server/api/exchange.h"

#include <fmt/format.h>

namespace ferry::server::api {
namespace {

constexpr JsonLimits kBodyLimits{.max_bytes = 32 << 20, .max_depth = 128, .max_values = 2'000'000};

}  // namespace

std::string sse_data(const Json& json) { return "data: " + dump(json) + "\n\n"; }

std::string sse_event(std::string_view name, const Json& json) {
  return fmt::format("event: {}\ndata: {}\n\n", name, dump(json));
}

ApiResult<Json> parse_body(std::string_view body) {
  Result<Json> json = parse_json(body, kBodyLimits);
  if (json.ok()) return std::move(json).value();
  return ApiError{400, "body: " + json.error().message, {}, "invalid_json"};
}

}  // namespace ferry::server::api
