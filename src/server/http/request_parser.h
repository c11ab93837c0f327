// HTTP/1 requests from bytes, under limits: what Boost.Beast parses, reduced to the few fields that
// this server reads, so that one file includes Beast. No socket.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace ferry::server {

inline constexpr size_t kMaxHeadBytes = 64 << 10;
inline constexpr size_t kMaxBodyBytes = 32 << 20;

struct RequestHead {
  std::string method;
  std::string target;
  bool http_1_0 = false;
  bool keep_alive = true;
  bool expect_continue = false;
  bool has_body = false;
  std::optional<uint64_t> content_length;
  std::string host, authorization, x_api_key, content_type, content_encoding, origin;
  std::string accept_encoding, if_none_match, request_id, anthropic_version;
};

class RequestParser {
 public:
  RequestParser();
  ~RequestParser();

  enum class State : uint8_t {
    kHead,  // the head is not complete yet
    kBody,  // head() is there, the body is not complete
    kDone,
    kBad,  // error_status() and error() say why; nothing more can be read from this peer
  };
  State state() const { return state_; }

  // Reads from the front of `bytes` and returns how many it is done with; the others must come
  // again, with more behind them. Stops behind the head and behind the body.
  size_t put(std::string_view bytes);

  // What was read of it before a request turned out bad; whole at kBody and kDone.
  const RequestHead& head() const { return head_; }
  std::string take_body();  // REQUIRES: kDone
  int error_status() const { return error_status_; }
  const std::string& error() const { return error_; }

 private:
  struct Beast;
  void read_head();
  void fail(int status, std::string message);

  std::unique_ptr<Beast> beast_;
  State state_ = State::kHead;
  RequestHead head_;
  size_t head_bytes_ = 0;
  int error_status_ = 0;
  std::string error_;
};

}  // namespace ferry::server
