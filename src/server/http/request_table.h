// The requests that run and the last ones that ended: what the page's dashboard lists (/stats) and
// what the access log says of each. Thread safety: one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "ferry/ferry.h"

namespace ferry::server {

struct RequestRecord {
  using Clock = std::chrono::steady_clock;

  std::string id;
  std::string client;  // address
  std::string method;
  std::string path;  // as asked for, cut to a sane length; the log's
  std::string_view route;
  double started = 0;  // Unix seconds
  Clock::time_point begun = Clock::now();

  bool stream = false;
  bool computes = false;  // it has streams of the engine, so the dashboard lists it
  int status = 0;
  int64_t bytes_in = 0;
  int64_t bytes_out = 0;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t output_tokens = 0;
  std::optional<double> first_token_s;  // since `begun`
  std::optional<double> ended_s;
  std::string finish_reason;  // "disconnected" where the client went away
  std::string error;
  std::string prompt;  // the body, only where the log is to have it

  double age_s() const { return std::chrono::duration<double>(Clock::now() - begun).count(); }
};

class RequestTable {
 public:
  // From now on it is listed, until enough others have ended after it.
  void begin(const std::shared_ptr<RequestRecord>& record);
  void end(const std::shared_ptr<RequestRecord>& record);

  // {"uptime_seconds", "requests": [newest first]}
  std::string json(double uptime_s) const;

 private:
  std::map<const RequestRecord*, std::shared_ptr<RequestRecord>> running_;
  std::deque<std::shared_ptr<RequestRecord>> ended_;  // newest first
};

// One line of the access log.
std::string access_line(const RequestRecord& record);

double unix_seconds();
// "req_" and 128 random bits in hex.
std::string new_request_id();

}  // namespace ferry::server
