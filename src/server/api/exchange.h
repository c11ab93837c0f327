// One HTTP exchange as pure logic: a request body becomes either a whole reply or a Job, which is
// engine requests to submit and an Answer that turns their events into bytes. Whoever owns sockets
// and the engine drives it:
//
//   auto reply = chat_completions(model, body);
//   Job& job: submit every job.requests[i]; then once  answer->begin(prompt tokens of each)
//   for every event of stream i:                        answer->event(i, event)
//   when all streams have ended:                        answer->end()
//
// What these return is sent as it is: server-sent events where job.stream, else nothing until end()
// returns the JSON body. After any call answer->failure() may be set: then what was returned is an
// error event, to be sent when the head of the reply is out already, else the failure becomes an
// error reply; either way the exchange is over and the streams are dropped.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ferry/ferry.h"
#include "server/api/api_error.h"

namespace ferry::server::api {

class Answer {
 public:
  virtual ~Answer() = default;

  virtual std::string begin(std::span<const int64_t> prompt_tokens) = 0;
  virtual std::string event(size_t request, const StreamEvent& event) = 0;
  virtual std::string end() = 0;
  // Ends a stream from outside (a stream that broke off, a server that goes down).
  virtual std::string fail(const ApiError& error) = 0;

  const std::optional<ApiError>& failure() const { return failure_; }

 protected:
  std::optional<ApiError> failure_;
};

struct Job {
  std::vector<Request> requests;  // at least one
  bool stream = false;
  std::unique_ptr<Answer> answer;
};

struct Body {
  std::string json;
};

using Reply = std::variant<Body, Job>;

// "data: …\n\n"
std::string sse_data(const Json& json);
// What ends a stream of chat or completion chunks.
inline constexpr const char* kSseDone = "data: [DONE]\n\n";
// "event: …\ndata: …\n\n"
std::string sse_event(std::string_view name, const Json& json);

// A request body: 32 MiB, 128 levels, no key twice. Errors: 400 without a field.
ApiResult<Json> parse_body(std::string_view body);

}  // namespace ferry::server::api
