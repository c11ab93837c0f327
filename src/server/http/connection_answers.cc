// See connection.h. This half decides what a request is answered with.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "server/http/connection.h"
#include "server/page.h"

namespace ferry::server {
namespace {

constexpr size_t kMaxLoggedPath = 256;
constexpr size_t kMaxRequestId = 128;
constexpr uint64_t kMaxPlanBody = 64 << 10;

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

// "application/json; charset=utf-8" and "application/vnd.x+json" are JSON too.
bool is_json(std::string_view type) {
  type = type.substr(0, type.find(';'));
  while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
  constexpr std::string_view kJson = "application/json";
  if (equal_ignoring_case(type, kJson)) return true;
  return type.size() > 5 && equal_ignoring_case(type.substr(type.size() - 5), "+json");
}

bool is_printable_id(std::string_view id) {
  return !id.empty() && id.size() <= kMaxRequestId &&
         std::all_of(id.begin(), id.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

// "http://localhost:8000" → "localhost:8000"
std::string_view authority_of(std::string_view origin) {
  const size_t at = origin.find("://");
  return at == std::string_view::npos ? std::string_view() : origin.substr(at + 3);
}

bool is_local_name(std::string_view authority) {
  if (authority.starts_with("[::1]")) return true;
  const std::string_view name = authority.substr(0, authority.rfind(':'));
  return equal_ignoring_case(name, "localhost") || name.starts_with("127.");
}

std::string retry_after(int status) {
  if (status == 429) return "Retry-After: 1\r\n";
  if (status == 503) return "Retry-After: 2\r\n";
  return {};
}

bool needs_planner(const Route& route) {
  return route.id == RouteId::kPlan || route.id == RouteId::kPlanCatalogue;
}

double thread_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

// Everything that can be said before the body has come.
std::optional<api::ApiError> Connection::check_head() {
  const std::string_view path = path_of_target(head_.target);
  record_->method = head_.method.substr(0, 16);
  record_->path = std::string(path.substr(0, kMaxLoggedPath));
  if (is_printable_id(head_.request_id)) record_->id = head_.request_id;
  if (!head_.keep_alive) close_after_ = true;
  route_ = find_route(head_.target);
  dialect_ = route_.has_value() ? route_->dialect : dialect_of_path(path);
  if (route_.has_value()) {
    record_->route = route_->name;
    const bool models = route_->id == RouteId::kModels || route_->id == RouteId::kModel;
    if (models && !head_.anthropic_version.empty()) dialect_ = api::Dialect::kAnthropic;
  }
  const auto& allowed = hub_.options.allowed_origins;
  const bool all = std::find(allowed.begin(), allowed.end(), "*") != allowed.end();
  const bool listed = std::find(allowed.begin(), allowed.end(), head_.origin) != allowed.end();
  if (!head_.origin.empty() && (all || listed)) cors_origin_ = head_.origin;
  if (head_.method == "OPTIONS") return std::nullopt;
  if (!head_.origin.empty() && cors_origin_.empty() && head_.method != "GET" &&
      head_.method != "HEAD") {
    // Without keys, a page whose name was made to point here is as foreign as any other.
    const std::string_view from = authority_of(head_.origin);
    const bool own = from == head_.host;
    const bool rebound = hub_.loopback && !hub_.options.authorize && !is_local_name(from);
    if (!own || rebound) {
      return api::ApiError{
          403,
          "pages of " + head_.origin + " may not ask this server (see ferry serve --allow-origin)",
          {},
          "origin_not_allowed"};
    }
  }
  if (!route_.has_value() || (needs_planner(*route_) && !hub_.options.planner.has_value())) {
    return api::ApiError{
        404,
        fmt::format("{} {}: there is no such route", record_->method, record_->path),
        {},
        "not_found"};
  }
  const bool get = head_.method == "GET" || head_.method == "HEAD";
  if (route_->post ? head_.method != "POST" : !get) {
    return api::ApiError{405,
                         fmt::format("{}: {} is not allowed here; {} is", record_->path,
                                     record_->method, route_->post ? "POST" : "GET"),
                         {},
                         "method_not_allowed"};
  }
  if (!route_->open && !authorized()) {
    return api::ApiError{
        401, "a valid API key is needed (Authorization: Bearer KEY)", {}, "invalid_api_key"};
  }
  return check_body_head();
}

std::optional<api::ApiError> Connection::check_body_head() const {
  if (hub_.draining) return api::ApiError{503, "the server is shutting down", {}, "shutting_down"};
  if (route_->uses_model && hub_.engine == nullptr) {
    return api::ApiError{503, "the model is still loading", {}, "loading"};
  }
  if (!route_->post) return std::nullopt;
  if (auto error = check_body_size(head_.content_length.value_or(0))) return error;
  if (!head_.content_encoding.empty() && !equal_ignoring_case(head_.content_encoding, "identity")) {
    return api::ApiError{415,
                         "a compressed body (Content-Encoding) is not understood",
                         {},
                         "unsupported_media_type"};
  }
  if (!head_.content_type.empty() && !is_json(head_.content_type)) {
    return api::ApiError{415,
                         "the body must be JSON (Content-Type: application/json)",
                         {},
                         "unsupported_media_type"};
  }
  return std::nullopt;
}

std::optional<api::ApiError> Connection::check_body_size(uint64_t bytes) const {
  const bool plan = route_->id == RouteId::kPlan;
  const uint64_t most = plan ? kMaxPlanBody : hub_.options.max_body_bytes;
  if (bytes <= most) return std::nullopt;
  return api::ApiError{413,
                       fmt::format("the body is larger than {} may be ({} bytes)",
                                   plan ? "one for the planner" : "all bodies together", most),
                       {},
                       "request_too_large"};
}

bool Connection::authorized() const {
  if (!hub_.options.authorize) return true;
  std::string_view key = head_.x_api_key;
  constexpr std::string_view kBearer = "bearer ";
  const std::string_view given = head_.authorization;
  if (given.size() > kBearer.size() &&
      equal_ignoring_case(given.substr(0, kBearer.size()), kBearer)) {
    key = given.substr(kBearer.size());
  }
  return hub_.options.authorize(key);
}

void Connection::on_request() {
  body_ = parser_->take_body();
  if (hub_.options.log_prompts && hub_.log != nullptr) record_->prompt = body_;
  if (head_.method == "OPTIONS") {
    std::string more = "Allow: GET, HEAD, POST, OPTIONS\r\n";
    if (!cors_origin_.empty()) {
      more +=
          "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"
          "Access-Control-Allow-Headers: authorization, content-type, x-api-key, x-request-id, "
          "anthropic-version, anthropic-beta\r\nAccess-Control-Max-Age: 600\r\n";
    }
    reply(204, "", "", more);
  } else if (const auto error = check_body_size(body_.size())) {  // that came in chunks
    refuse(*error);
  } else if (route_->uses_model) {
    hand_over();
  } else if (needs_planner(*route_)) {
    hand_to_planner();
  } else {
    answer_here();
  }
}

// Routes that need no model.
void Connection::answer_here() {
  const bool loaded = hub_.engine != nullptr;
  switch (route_->id) {
    case RouteId::kPage: return answer_page();
    case RouteId::kLivez: return reply(200, "application/json", R"({"status":"ok"})");
    case RouteId::kReadyz:
    case RouteId::kHealth:
      if (loaded) return reply(200, "application/json", R"({"status":"ok"})");
      return reply(503, "application/json", R"({"status":"loading"})", retry_after(503));
    case RouteId::kVersion:
      return reply(200, "application/json", api::dump({{"version", hub_.options.version}}));
    case RouteId::kMetrics:
      return reply(200, "text/plain; version=0.0.4; charset=utf-8",
                   hub_.metrics.text(loaded ? &hub_.engine->engine() : nullptr,
                                     static_cast<int64_t>(hub_.connections.size())));
    case RouteId::kStats: {
      const std::chrono::duration<double> uptime = Clock::now() - hub_.started;
      return reply(200, "application/json", hub_.table.json(uptime.count()));
    }
    default: return refuse({500, "this route has no answer", {}, {}});
  }
}

void Connection::answer_page() {
  const PageFile& file = *route_->file;
  std::string more = fmt::format("ETag: {}\r\n", file.etag);
  for (const auto& [name, value] : page_headers()) more += fmt::format("{}: {}\r\n", name, value);
  if (head_.if_none_match.find(file.etag) != std::string::npos) return reply(304, "", "", more);
  if (head_.accept_encoding.find("gzip") != std::string::npos) {
    return reply(200, file.content_type, std::string(file.gzipped),
                 more + "Content-Encoding: gzip\r\n");
  }
  reply(200, file.content_type, file.plain(), more);
}

// To a worker and back.
void Connection::hand_over() {
  state_ = State::kWorking;
  parser_.reset();
  const bool taken = hub_.workers->run([self = shared_from_this()] { self->work(); });
  if (!taken) {
    refuse({429, "too many requests wait to be read; try again later", {}, "rate_limit_exceeded"});
  }
}

void Connection::hand_to_planner() {
  state_ = State::kWorking;
  parser_.reset();
  Workers& workers = route_->id == RouteId::kPlan ? *hub_.planners : *hub_.workers;
  const bool taken = workers.run([self = shared_from_this()] {
    if (!self->gone_) self->deliver(self->plan());
  });
  if (!taken) {
    refuse({429, "too many plans wait; try again later", {}, "rate_limit_exceeded"});
  }
}

ServedEngine::Outcome Connection::plan() const {
  const Planner& planner = *hub_.options.planner;
  if (route_->id == RouteId::kPlanCatalogue) {
    api::ApiResult<api::Body> catalogue = planner.catalogue();
    if (!catalogue.ok()) return catalogue.error();
    return std::move(catalogue).value();
  }
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(hub_.options.plan_timeout_s));
  bool late = false;
  const auto stop = [this, end, &late] {
    late = late || Clock::now() >= end;
    return late || gone_ || hub_.ending;
  };
  api::ApiResult<api::Body> answer = planner.plan(body_, stop);
  if (answer.ok()) return std::move(answer).value();
  if (!late) return answer.error();
  return api::ApiError{400,
                       fmt::format("the search took longer than {} s; ask for fewer chips, formats "
                                   "or at most fewer chips together",
                                   hub_.options.plan_timeout_s),
                       {},
                       "search_too_long"};
}

void Connection::work() {
  if (gone_) return;
  ServedEngine::Prepared prepared = hub_.engine->prepare(*route_, body_);
  if (auto* error = std::get_if<api::ApiError>(&prepared)) return deliver(std::move(*error));
  if (auto* whole = std::get_if<api::Body>(&prepared)) return deliver(std::move(*whole));
  auto job = std::make_shared<api::Job>(std::get<api::Job>(std::move(prepared)));
  std::string schemas = schemas_of(*job);
  if (schemas.empty() || hub_.costs.is_quick(schemas)) return begin(std::move(*job), schemas);
  const bool taken = hub_.compilers->run([self = shared_from_this(), job, schemas] {
    if (!self->gone_) self->begin(std::move(*job), schemas);
  });
  if (!taken) {
    deliver(api::ApiError{
        429, "too many schemas wait to be compiled; try again later", {}, "rate_limit_exceeded"});
  }
}

void Connection::begin(api::Job job, const std::string& schemas) {
  const double began = thread_cpu_seconds();
  ServedEngine::Outcome outcome = hub_.engine->begin(std::move(job));
  if (!schemas.empty()) {
    hub_.costs.note(schemas, thread_cpu_seconds() - began);
  }
  deliver(std::move(outcome));
}

void Connection::deliver(ServedEngine::Outcome outcome) {
  auto shared = std::make_shared<ServedEngine::Outcome>(std::move(outcome));
  boost::asio::post(hub_.io,
                    [self = shared_from_this(), shared] { self->take_over(std::move(*shared)); });
}

void Connection::take_over(ServedEngine::Outcome outcome) {
  std::string().swap(body_);
  release_body();
  if (state_ != State::kWorking) return;  // the client went away meanwhile
  if (const auto* error = std::get_if<api::ApiError>(&outcome)) return refuse(*error);
  if (auto* whole = std::get_if<api::Body>(&outcome)) {
    return reply(200, "application/json", std::move(whole->json));
  }
  auto& started = std::get<ServedEngine::Started>(outcome);
  state_ = State::kRunning;
  run_ = std::make_unique<JobRun>(std::move(started.job), std::move(started.streams), record_,
                                  hub_.metrics);
  hub_.table.begin(record_);
  if (run_->stream()) {
    streaming_ = true;
    ReplyHead head = reply_head(200);
    head.content_type = "text/event-stream; charset=utf-8";
    head.more = "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n";
    if (head_.http_1_0) head.close = close_after_ = true;
    record_->status = 200;
    send(head.text());
  }
  run_->on_event([&hub = hub_, id = id_] { hub.wake(id); });
  pump();
}

void Connection::pump() {
  // While the client has not taken the last piece, events stay in their streams and melt together.
  if (run_ == nullptr || writing_) return;
  std::string data = run_->take();
  if (run_->ended()) {
    stream_ended(std::move(data));
  } else if (!data.empty()) {
    send(head_.http_1_0 ? std::move(data) : chunk(data));
  }
}

void Connection::stream_ended(std::string data) {
  const std::optional<api::ApiError> failure = run_->failure();
  run_.reset();
  if (!streaming_) {
    if (failure.has_value()) return refuse(*failure);
    return reply(200, "application/json", std::move(data));
  }
  if (failure.has_value()) {
    record_->error = failure->message;
    close_after_ = true;
  }
  state_ = State::kReplying;
  if (!head_.http_1_0) {
    data = (data.empty() ? std::string() : chunk(data)) + std::string(kLastChunk);
  }
  if (data.empty() && !writing_) return request_ended();
  send(std::move(data));
}

void Connection::abort(const api::ApiError& error) {
  close_after_ = true;
  if (state_ == State::kRunning) {
    std::string data = run_->abort(error);
    stream_ended(std::move(data));
  } else if (state_ == State::kWorking) {
    gone_ = true;
    refuse(error);
  } else if (state_ == State::kReading) {
    close();
  }
}

void Connection::refuse(const api::ApiError& error) {
  run_.reset();
  record_->error = error.message;
  std::string more = retry_after(error.status);
  if (error.status == 401) more += "WWW-Authenticate: Bearer\r\n";
  if (error.status == 405) more += route_->post ? "Allow: POST\r\n" : "Allow: GET, HEAD\r\n";
  reply(error.status, "application/json", api::error_body(dialect_, error, record_->id), more);
}

ReplyHead Connection::reply_head(int status) const {
  ReplyHead head;
  head.status = status;
  head.http_1_0 = head_.http_1_0;
  head.close = close_after_ || hub_.draining;
  head.version = hub_.options.version;
  head.request_id = record_->id;
  head.cors_origin = cors_origin_;
  return head;
}

void Connection::reply(int status, std::string_view content_type, std::string body,
                       std::string more_headers) {
  state_ = State::kReplying;
  record_->status = status;
  ReplyHead head = reply_head(status);
  head.content_type = content_type;
  head.content_length = body.size();
  head.more = more_headers;
  send(head.text() + (head_.method == "HEAD" ? std::string() : std::move(body)));
}

}  // namespace ferry::server
