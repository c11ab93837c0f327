// The HTTP server: sockets on one thread, engine steps on another, bodies on a few workers.
//
//   clients ── Connection ── Workers (parse, render, tokenize, submit) ── Engine
//                  ▲             ├─ others, where a schema has to be compiled first ─┘
//                  ▲             └─ one for the planner, where there is one
//                  ▲                                                        │
//                  └──── one wake-up for all streams that have events ◄─────┘
//
// No client can hurt another: heads, bodies, queues and times are bounded, schemas that nobody has
// seen wait for each other only, a slow reader's events
// melt together in its stream, a client that goes away takes its requests with it within a step.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ferry/ferry.h"
#include "server/api/exchange.h"

namespace ferry::server {

// The planner behind POST /plan and GET /plan/catalogue. Whoever has one gives it: this folder
// knows nothing of chips.
struct Planner {
  // The whole answer to a body of at most 64 KiB. May take long: called on a thread for this alone,
  // one call at a time. `stop` says when nobody waits for it any more or its time is over: then any
  // error will do.
  std::function<api::ApiResult<api::Body>(std::string_view body, const std::function<bool()>& stop)>
      plan;
  std::function<api::ApiResult<api::Body>()> catalogue;  // called from several threads at once
};

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8000;  // 0: a free one

  // Whether an API key is one that may ask; empty: everybody may. Called from one thread.
  std::function<bool(std::string_view key)> authorize;
  bool allow_unauthenticated = false;  // on an address that others can reach, without keys

  std::vector<std::string> allowed_origins;  // of web pages, beside the server's own; "*": all
  std::vector<std::string> names;            // that the model is served under; empty: its own
  bool strict_names = false;
  std::optional<bool> thinking;  // where a request says nothing
  bool vllm_metric_names = false;
  std::string access_log;  // a file, "-" for standard output, empty for none
  bool log_prompts = false;
  std::string version;
  std::optional<Planner> planner;  // nullopt: its routes are not there

  double drain_timeout_s = 30;  // from SIGTERM to the end of answers that are not ready
  double head_timeout_s = 15;   // for the head of a request, once it has begun
  double body_timeout_s = 30;   // without a byte of a body
  double idle_timeout_s = 75;   // between requests
  double write_timeout_s = 30;  // without a byte that the client takes
  double keep_alive_s = 10;     // between comments in a stream without events
  double plan_timeout_s = 30;   // for one search of the planner
  size_t max_connections = 20000;
  // Of all requests together, while they are read and parsed. Beyond it bodies of more than a few
  // KiB are refused with 503.
  size_t max_body_bytes = 256 << 20;
};

class Server {
 public:
  // Binds and listens; clients may connect from here on. Errors: an address that is in use or not
  // of this machine (kIo), one that others can reach without keys (kInvalidInput).
  static Result<std::unique_ptr<Server>> listen(ServerOptions options);
  ~Server();

  const std::string& url() const;

  struct Ending {
    std::optional<Error> load_error;
    bool forced = false;         // a second signal came before the answers were finished
    bool still_loading = false;  // `load` can't be stopped: only ending the process does that
  };
  // Serves until SIGTERM or SIGINT, while `load` loads the model on a thread of its own (clients
  // hear 503 so long). `ready` is called once it is there. After an ending with still_loading the
  // server must not be destroyed.
  Ending run(std::function<Result<Engine>()> load, std::function<void(const Engine&)> ready);

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ferry::server
