// See connection.h. This half moves bytes; what a request is answered with is in
// connection_answers.cc.
#include "server/http/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace ferry::server {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

constexpr size_t kMaxReadAhead = 64 << 10;  // of the next requests, while one is answered
constexpr std::chrono::seconds kLingerTime(2);
constexpr size_t kSmallBody =
    16 << 10;  // is always taken, so that large ones can't shut others out

std::chrono::steady_clock::duration seconds(double value) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(value));
}

}  // namespace

Connection::Connection(uint64_t id, tcp::socket socket, Hub& hub)
    : id_(id), socket_(std::move(socket)), hub_(hub) {
  error_code error;
  const auto peer = socket_.remote_endpoint(error);
  if (!error) client_ = peer.address().to_string();
  socket_.set_option(tcp::no_delay(true), error);
  socket_.non_blocking(true, error);
}

void Connection::start() {
  deadline_ = Clock::now() + seconds(hub_.options.head_timeout_s);
  read();
}

// Waits until there is something to read; while a request is answered too, because that is how the
// end of a client shows.
void Connection::read() {
  if (reading_ || input_ended_ || state_ == State::kClosed) return;
  if (state_ != State::kReading && state_ != State::kLingering && input_.size() >= kMaxReadAhead) {
    return;
  }
  reading_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const error_code& error) {
    self->reading_ = false;
    if (self->state_ == State::kClosed) return;
    if (error) {
      self->close();
    } else {
      self->on_readable();
    }
  });
}

void Connection::on_readable() {
  error_code error;
  const size_t count =
      socket_.read_some(boost::asio::buffer(hub_.scratch.data(), hub_.scratch.size()), error);
  if (error == boost::asio::error::would_block) {
    read();
  } else if (error == boost::asio::error::eof) {
    on_end_of_input();
  } else if (error) {
    close();
  } else {
    if (state_ != State::kLingering) {
      input_.append(hub_.scratch.data(), count);
      if (record_ != nullptr && state_ == State::kReading) {
        record_->bytes_in += static_cast<int64_t>(count);
      }
    }
    consume();
    read();
  }
}

// A client that has said all it wants to say still gets a reply that is on its way; one that waits
// for tokens has gone: nobody ends its side of the connection and reads on.
void Connection::on_end_of_input() {
  input_ended_ = true;
  if (state_ == State::kReplying) {
    close_after_ = true;
  } else {
    close();
  }
}

void Connection::consume() {
  while (state_ == State::kReading && !input_.empty()) {
    if (parser_ == nullptr) begin_request();
    const bool in_body = parser_->state() == RequestParser::State::kBody;
    const size_t used = parser_->put(input_);
    input_.erase(0, used);
    if (in_body && !hold_body(used)) {
      parser_.reset();
      release_body();
      close_after_ = true;
      refuse({503,
              "the bodies of all requests together are too large just now; try again later",
              {},
              "overloaded"});
      return;
    }
    const RequestParser::State now = parser_->state();
    if (now == RequestParser::State::kBad) {
      head_ = parser_->head();
      close_after_ = true;
      refuse({parser_->error_status(), parser_->error(), {}, {}});
      return;
    }
    if (used == 0 && now != RequestParser::State::kDone) return;  // it needs more than there is
    if (now == RequestParser::State::kHead) continue;
    deadline_ = Clock::now() + seconds(hub_.options.body_timeout_s);
    if (!head_checked_) {
      head_checked_ = true;
      head_ = parser_->head();
      if (const auto error = check_head()) {
        // Where its body is still to come, the next request can't be found.
        if (now != RequestParser::State::kDone) close_after_ = true;
        refuse(*error);
        return;
      }
      if (head_.expect_continue && now != RequestParser::State::kDone) {
        send("HTTP/1.1 100 Continue\r\n\r\n");
      }
    }
    if (now == RequestParser::State::kDone) on_request();
  }
}

void Connection::begin_request() {
  parser_ = std::make_unique<RequestParser>();
  head_ = {};
  head_checked_ = false;
  route_.reset();
  dialect_ = api::Dialect::kOpenAi;
  cors_origin_.clear();
  streaming_ = false;
  record_ = std::make_shared<RequestRecord>();
  record_->id = new_request_id();
  record_->client = client_;
  record_->started = unix_seconds();
  record_->route = "none";
  record_->bytes_in = static_cast<int64_t>(input_.size());
  deadline_ = Clock::now() + seconds(hub_.options.head_timeout_s);
}

bool Connection::hold_body(size_t bytes) {
  held_bytes_ += bytes;
  hub_.body_bytes += bytes;
  return held_bytes_ <= kSmallBody || hub_.body_bytes <= hub_.options.max_body_bytes;
}

void Connection::release_body() {
  hub_.body_bytes -= held_bytes_;
  held_bytes_ = 0;
}

void Connection::send(std::string bytes) {
  if (state_ == State::kClosed || bytes.empty()) return;
  if (record_ != nullptr) record_->bytes_out += static_cast<int64_t>(bytes.size());
  last_sent_ = Clock::now();
  if (writing_) {
    queued_ += bytes;
    return;
  }
  writing_ = true;
  output_ = std::move(bytes);
  written_ = 0;
  write_more();
}

void Connection::write_more() {
  last_sent_ = Clock::now();
  socket_.async_write_some(
      boost::asio::buffer(output_.data() + written_, output_.size() - written_),
      [self = shared_from_this()](const error_code& error, size_t count) {
        if (self->state_ == State::kClosed) return;
        if (error) {
          self->close();
          return;
        }
        self->written_ += count;
        if (self->written_ < self->output_.size()) {
          self->write_more();
        } else {
          self->on_written();
        }
      });
}

void Connection::on_written() {
  writing_ = false;
  output_.clear();
  if (!queued_.empty()) {
    // send() has counted these already.
    output_.swap(queued_);
    written_ = 0;
    writing_ = true;
    write_more();
    return;
  }
  if (state_ == State::kReplying) {
    request_ended();
  } else {
    pump();
  }
}

// The reply is out: the next request, or the end.
void Connection::request_ended() {
  end_record();
  parser_.reset();
  release_body();
  std::string().swap(output_);
  if (close_after_ || hub_.draining) {
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    if (input_ended_) {
      close();
      return;
    }
    // Closing with unread input would make the peer's system throw our answer away.
    state_ = State::kLingering;
    deadline_ = Clock::now() + kLingerTime;
    input_.clear();
    read();
    return;
  }
  state_ = State::kReading;
  deadline_ = Clock::now() + seconds(hub_.options.idle_timeout_s);
  consume();
  read();
}

void Connection::end_record() {
  if (record_ == nullptr) return;
  record_->ended_s = record_->age_s();
  hub_.metrics.answered(record_->route, record_->status);
  hub_.table.end(record_);
  if (hub_.log != nullptr) hub_.log->add(access_line(*record_));
  record_.reset();
}

void Connection::tick(Clock::time_point now) {
  if (writing_ && now - last_sent_ > seconds(hub_.options.write_timeout_s)) {
    if (record_ != nullptr) record_->error = "the client does not read";
    close();
    return;
  }
  switch (state_) {
    case State::kReading:
      if (now < deadline_) return;
      if (parser_ == nullptr) {
        close();
      } else {
        close_after_ = true;
        refuse({408, "the request did not come to its end in time", {}, {}});
      }
      break;
    case State::kRunning:
      if (streaming_ && !writing_ && now - last_sent_ > seconds(hub_.options.keep_alive_s)) {
        send(head_.http_1_0 ? ": keep-alive\n\n" : chunk(": keep-alive\n\n"));
      }
      break;
    case State::kLingering:
      if (now >= deadline_) close();
      break;
    case State::kWorking:
    case State::kReplying:
    case State::kClosed: break;
  }
}

void Connection::drain() {
  close_after_ = true;
  if (state_ == State::kReading && parser_ == nullptr) close();
}

void Connection::close() {
  if (state_ == State::kClosed) return;
  const bool unfinished = state_ == State::kWorking || state_ == State::kRunning;
  state_ = State::kClosed;
  gone_ = true;
  release_body();
  run_.reset();  // cancels
  if (record_ != nullptr) {
    if (unfinished && record_->finish_reason.empty()) record_->finish_reason = "disconnected";
    end_record();
  }
  error_code ignored;
  socket_.close(ignored);
  hub_.closed(id_);
}

}  // namespace ferry::server
