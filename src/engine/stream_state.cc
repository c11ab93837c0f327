// The handover of events, and the public face of it.
#include "engine/stream_state.h"

#include <iterator>
#include <utility>

#include "base/check.h"

namespace ferry::engine {
namespace {

// Pieces of one call that nobody has read yet become one.
void append_state(std::vector<ToolCallPiece>& to, std::vector<ToolCallPiece>&& pieces) {
  for (ToolCallPiece& piece : pieces) {
    if (!to.empty() && to.back().index == piece.index) {
      to.back().arguments += piece.arguments;
    } else {
      to.push_back(std::move(piece));
    }
  }
}

void append_state(StreamEvent& to, StreamEvent&& event) {
  to.text += event.text;
  to.reasoning += event.reasoning;
  to.tokens.insert(to.tokens.end(), event.tokens.begin(), event.tokens.end());
  std::move(event.logprobs.begin(), event.logprobs.end(), std::back_inserter(to.logprobs));
  to.num_reasoning_tokens += event.num_reasoning_tokens;
  append_state(to.tool_calls, std::move(event.tool_calls));
  if (!event.embedding.empty()) to.embedding = std::move(event.embedding);
  to.finish = std::move(event.finish);
}

}  // namespace

void StreamState::push(StreamEvent event) {
  {
    std::lock_guard lock(mutex_);
    CHECK(!closed_);
    closed_ = event.finish.has_value();
    if (pending_.has_value()) {
      append_state(*pending_, std::move(event));
    } else {
      pending_ = std::move(event);
      if (notify_) notify_();
    }
  }
  arrived_.notify_one();
}

std::optional<StreamEvent> StreamState::take(std::optional<std::chrono::milliseconds> timeout) {
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return pending_.has_value() || finished_; };
  if (timeout.has_value()) {
    arrived_.wait_for(lock, *timeout, ready);
  } else {
    arrived_.wait(lock, ready);
  }
  std::optional<StreamEvent> event = std::exchange(pending_, std::nullopt);
  if (event.has_value() && event->finish.has_value()) finished_ = true;
  return event;
}

void StreamState::on_event(std::function<void()> notify) {
  std::lock_guard lock(mutex_);
  notify_.swap(notify);  // the old one is destroyed outside of the lock
  if (notify_ && pending_.has_value()) notify_();
}

bool StreamState::finished() const {
  std::lock_guard lock(mutex_);
  return finished_;
}

void StreamState::cancel() {
  cancelled_.store(true, std::memory_order_relaxed);
  doorbell_->ring();
}

}  // namespace ferry::engine

namespace ferry {

TokenStream::TokenStream(std::shared_ptr<engine::StreamState> state) : state_(std::move(state)) {}
TokenStream::TokenStream(TokenStream&&) noexcept = default;

TokenStream& TokenStream::operator=(TokenStream&& other) noexcept {
  if (this == &other) return *this;
  let_go();
  state_ = std::move(other.state_);
  return *this;
}

TokenStream::~TokenStream() { let_go(); }

void TokenStream::let_go() {
  if (state_ == nullptr) return;
  state_->on_event({});
  state_->cancel();
}

std::optional<StreamEvent> TokenStream::next() { return state_->take(std::nullopt); }
std::optional<StreamEvent> TokenStream::next_within(std::chrono::milliseconds timeout) {
  return state_->take(timeout);
}
void TokenStream::on_event(std::function<void()> notify) { state_->on_event(std::move(notify)); }
bool TokenStream::finished() const { return state_->finished(); }
void TokenStream::cancel() { state_->cancel(); }
int64_t TokenStream::prompt_tokens() const { return state_->prompt_tokens(); }

void Completion::add(StreamEvent event) {
  text += event.text;
  reasoning += event.reasoning;
  for (ToolCallPiece& piece : event.tool_calls) {
    if (piece.index == std::ssize(tool_calls)) {
      tool_calls.push_back({std::move(piece.id), std::move(piece.name), {}});
    }
    tool_calls[static_cast<size_t>(piece.index)].arguments += piece.arguments;
  }
  tokens.insert(tokens.end(), event.tokens.begin(), event.tokens.end());
  std::move(event.logprobs.begin(), event.logprobs.end(), std::back_inserter(logprobs));
  if (event.finish.has_value()) finish = *std::move(event.finish);
}

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop: return "stop";
    case FinishReason::kLength: return "length";
    case FinishReason::kToolCalls: return "tool_calls";
    case FinishReason::kCancelled: return "cancelled";
    case FinishReason::kError: return "error";
  }
  return "?";
}

}  // namespace ferry
