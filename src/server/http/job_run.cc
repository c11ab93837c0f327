// See job_run.h.
#include "server/http/job_run.h"

#include <algorithm>
#include <utility>

namespace ferry::server {

api::ApiResult<std::vector<TokenStream>> submit_all(const Engine& engine, const api::Job& job) {
  std::vector<TokenStream> streams;
  for (const Request& request : job.requests) {
    Result<TokenStream> stream = engine.submit(request);
    if (!stream.ok()) return api::from_engine(stream.error());
    streams.push_back(std::move(stream).value());
  }
  return streams;
}

JobRun::JobRun(api::Job job, std::vector<TokenStream> streams,
               std::shared_ptr<RequestRecord> record, Metrics& metrics)
    : job_(std::move(job)),
      streams_(std::move(streams)),
      last_token_s_(streams_.size(), -1),
      record_(std::move(record)),
      metrics_(metrics) {
  record_->stream = job_.stream;
  record_->computes = true;
  for (const TokenStream& stream : streams_) record_->prompt_tokens += stream.prompt_tokens();
}

void JobRun::on_event(const std::function<void()>& notify) {
  for (TokenStream& stream : streams_) stream.on_event(notify);
}

void JobRun::observe(size_t index, const StreamEvent& event) {
  const double now_s = record_->age_s();
  if (const auto count = static_cast<int64_t>(event.tokens.size()); count > 0) {
    metrics_.generated(count);
    record_->output_tokens += count;
    double& last_s = last_token_s_[index];
    const int64_t later = last_s < 0 ? count - 1 : count;
    if (last_s < 0) metrics_.first_token(now_s, streams_[index].prompt_tokens());
    if (later > 0) metrics_.more_tokens(later, last_s < 0 ? 0 : now_s - last_s);
    last_s = now_s;
    if (!record_->first_token_s.has_value()) record_->first_token_s = now_s;
  }
  if (!event.finish.has_value()) return;
  metrics_.finished(*event.finish, now_s);
  record_->cached_tokens += event.finish->cached_prompt_tokens;
  if (record_->finish_reason.empty()) {
    record_->finish_reason = finish_reason_name(event.finish->reason);
  }
}

std::string JobRun::take() {
  if (ended_) return {};
  std::string out;
  if (!begun_) {
    begun_ = true;
    std::vector<int64_t> prompt_tokens;
    for (const TokenStream& stream : streams_) prompt_tokens.push_back(stream.prompt_tokens());
    out = job_.answer->begin(prompt_tokens);
  }
  for (size_t i = 0; i < streams_.size() && !failure().has_value(); ++i) {
    while (auto event = streams_[i].next_within(std::chrono::milliseconds(0))) {
      observe(i, *event);
      out += job_.answer->event(i, *event);
      if (failure().has_value()) break;
    }
  }
  const bool all = std::all_of(streams_.begin(), streams_.end(),
                               [](const TokenStream& stream) { return stream.finished(); });
  if (failure().has_value()) {
    ended_ = true;
    streams_.clear();
  } else if (all) {
    out += job_.answer->end();
    ended_ = true;
  }
  return out;
}

std::string JobRun::abort(const api::ApiError& error) {
  if (ended_) return {};
  ended_ = true;
  streams_.clear();
  return job_.answer->fail(error);
}

}  // namespace ferry::server
