// LoadClient: sends many streaming requests to an OpenAI-compatible server at once, over HTTP/1.1,
// and writes down when each piece of each answer came. One thread, libcurl's multi interface.
//
// An answer is good when the server said 200, sent events (SSE) and ended them with [DONE].
// Anything else is a failed request with a reason, never a failed program: a server under load is
// expected to refuse.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace ferry::cmd {

struct LoadTarget {
  std::string url;      // of the route that is posted to
  std::string api_key;  // "" for none
  double timeout_s = 600;
};

struct LoadRequest {
  std::string body;
  double due_s = 0;  // when it is sent, where arrivals are given
};

struct LoadAnswer {
  bool ended = false;   // false: it was still running when the run was stopped
  std::string failure;  // "" for a good answer
  // Seconds after the start of the run. `sent_s` is when it was due where arrivals are given.
  double sent_s = 0, first_s = 0, last_s = 0, end_s = 0;
  std::vector<double> gaps_s;  // between one piece with text and the next
  int64_t pieces = 0;
  int64_t prompt_tokens = -1;  // as the server counted them; -1: it did not say
  int64_t completion_tokens = -1;

  bool good() const { return ended && failure.empty(); }
  int64_t output_tokens() const { return completion_tokens >= 0 ? completion_tokens : pieces; }
};

// Takes the bytes of an event stream as they come and hands on the data of each event.
class EventReader {
 public:
  // Errors: an event larger than 1 MiB.
  Status push(std::string_view bytes, const std::function<void(std::string_view data)>& on_event);

 private:
  std::string line_;
  std::string data_;
  bool has_data_ = false;
};

// Takes one event into the answer. Returns false with [DONE].
bool take_event(LoadAnswer& answer, std::string_view data, double now_s);

class LoadClient {
 public:
  explicit LoadClient(LoadTarget target);
  ~LoadClient();
  LoadClient(const LoadClient&) = delete;
  LoadClient& operator=(const LoadClient&) = delete;

  // `concurrency` > 0: that many at a time, the next when one ends. 0: each when it is due.
  // `on_end` is called whenever a request has ended; `stop` is asked all the time and ends the run.
  std::vector<LoadAnswer> run(std::span<const LoadRequest> requests, int64_t concurrency,
                              const std::function<void()>& on_end,
                              const std::function<bool()>& stop);
  // Seconds that the last run took, from its start to the end of its last answer.
  double run_s() const { return run_s_; }

 private:
  struct Transfer;
  using Clock = std::chrono::steady_clock;

  void start(const LoadRequest& request, LoadAnswer& answer, double sent_s);
  void finish_ended();
  double now_s() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  static size_t on_data(char* data, size_t size, size_t count, void* context);

  LoadTarget target_;
  void* multi_;    // CURLM*
  void* headers_;  // curl_slist*
  Clock::time_point start_;
  double run_s_ = 0;
  std::vector<std::unique_ptr<Transfer>> running_;
};

// One request with one answer in JSON; GET with an empty body. Errors: kIo with what went wrong.
Result<Json> call_json(const LoadTarget& target, const std::string& body);

// "error" of an answer as people have it: {"error": {"message": …}}, {"error": "…"} or plain text.
std::string error_text(std::string_view body);

}  // namespace ferry::cmd
