// One client: reads requests, answers them one after another, and watches for its going away.
// Runs on the thread of the hub's io_context alone.
#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "server/http/hub.h"
#include "server/http/job_run.h"
#include "server/http/reply_head.h"
#include "server/http/request_parser.h"
#include "server/http/routes.h"

namespace ferry::server {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Clock = std::chrono::steady_clock;

  Connection(uint64_t id, boost::asio::ip::tcp::socket socket, Hub& hub);

  void start();
  // Streams of this connection have events.
  void pump();
  // Now and then: ends what took too long, keeps quiet streams alive.
  void tick(Clock::time_point now);
  // No further request: an idle client is let go, the others after their answer.
  void drain();
  // Ends the answer that is under way.
  void abort(const api::ApiError& error);
  void close();

 private:
  enum class State : uint8_t {
    kReading,    // a request, or the wait for one
    kWorking,    // a worker has it
    kRunning,    // the engine has it
    kReplying,   // the last bytes of an answer are on their way
    kLingering,  // everything was said; what the client still sends is thrown away
    kClosed,
  };

  void read();
  void on_readable();
  void on_end_of_input();
  void consume();
  void begin_request();
  // nullopt: go on.
  std::optional<api::ApiError> check_head();
  std::optional<api::ApiError> check_body_head() const;
  std::optional<api::ApiError> check_body_size(uint64_t bytes) const;
  bool authorized() const;
  void on_request();
  void answer_here();
  void answer_page();
  void hand_over();
  void hand_to_planner();
  ServedEngine::Outcome plan() const;                    // on the planner's thread, or a worker
  void work();                                           // on a worker
  void begin(api::Job job, const std::string& schemas);  // on a worker, or a compiler
  void deliver(ServedEngine::Outcome outcome);           // from there to take_over()
  void take_over(ServedEngine::Outcome outcome);
  void stream_ended(std::string data);

  // Counts bytes of the body that is being read; false: all requests together have too many.
  bool hold_body(size_t bytes);
  void release_body();

  void refuse(const api::ApiError& error);
  void reply(int status, std::string_view content_type, std::string body,
             std::string more_headers = {});
  ReplyHead reply_head(int status) const;
  void send(std::string bytes);
  void write_more();
  void on_written();
  void request_ended();
  void end_record();

  const uint64_t id_;
  boost::asio::ip::tcp::socket socket_;
  Hub& hub_;
  std::string client_;
  State state_ = State::kReading;
  Clock::time_point deadline_;

  bool reading_ = false;
  bool input_ended_ = false;
  std::string input_;  // read, but not yet parsed

  std::unique_ptr<RequestParser> parser_;  // of the request that is being read
  RequestHead head_;
  bool head_checked_ = false;
  std::optional<Route> route_;
  api::Dialect dialect_ = api::Dialect::kOpenAi;
  std::string cors_origin_;  // that may read the answer; empty: the server's own only
  bool close_after_ = false;
  std::shared_ptr<RequestRecord> record_;
  std::string body_;
  size_t held_bytes_ = 0;          // of the hub's body_bytes
  std::atomic<bool> gone_{false};  // nobody waits for an answer any more: for other threads
  std::unique_ptr<JobRun> run_;
  bool streaming_ = false;  // the head of an event stream is out

  std::string output_;  // being written from written_ on
  size_t written_ = 0;
  std::string queued_;
  bool writing_ = false;
  Clock::time_point last_sent_;
};

}  // namespace ferry::server
