// One job at work: engine streams on one side, bytes of an answer on the other. No sockets.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/api/exchange.h"
#include "server/http/metrics.h"
#include "server/http/request_table.h"

namespace ferry::server {

// Submits every request of a job; may take long (chat templates, tokenizing, schemas). What was
// submitted before a refusal is cancelled.
api::ApiResult<std::vector<TokenStream>> submit_all(const Engine& engine, const api::Job& job);

class JobRun {
 public:
  // `metrics` outlives this. REQUIRES: one stream per request of the job
  JobRun(api::Job job, std::vector<TokenStream> streams, std::shared_ptr<RequestRecord> record,
         Metrics& metrics);

  // `notify` as TokenStream::on_event has it.
  void on_event(const std::function<void()>& notify);

  // What there is to send now; never waits. Events that are not taken melt together in their
  // stream, so a reader that is slow costs no memory beyond the text of its answer.
  std::string take();
  // Ends it from outside: an error event where the answer is a stream.
  std::string abort(const api::ApiError& error);

  bool stream() const { return job_.stream; }
  bool ended() const { return ended_; }
  // Set once it has failed; what take() or abort() returned is an error event then.
  const std::optional<api::ApiError>& failure() const { return job_.answer->failure(); }

 private:
  void observe(size_t index, const StreamEvent& event);

  api::Job job_;
  std::vector<TokenStream> streams_;
  std::vector<double> last_token_s_;  // by stream, since the arrival; < 0: none yet
  std::shared_ptr<RequestRecord> record_;
  Metrics& metrics_;
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace ferry::server
