// See request_parser.h.
#include "server/http/request_parser.h"

#include <boost/beast/http/error.hpp>
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/parser.hpp>
#include <utility>

#include "base/check.h"

namespace ferry::server {
namespace {

namespace http = boost::beast::http;

constexpr const char* kBodyTooLarge = "the body of the request is larger than 32 MiB";

template <class Name>
std::string text_of(const http::fields& fields, Name name) {
  const auto value = fields[name];
  return {value.data(), value.size()};
}

}  // namespace

struct RequestParser::Beast {
  // A string that grows with what has really come: Beast's own string_body reserves whatever length
  // the client claims.
  struct GrowingBody {
    using value_type = std::string;
    class reader {
     public:
      template <bool is_request, class Fields>
      reader(http::header<is_request, Fields>&, value_type& body) : body_(body) {}
      void init(const boost::optional<uint64_t>&, boost::system::error_code& error) { error = {}; }
      template <class Buffers>
      size_t put(const Buffers& buffers, boost::system::error_code& error) {
        size_t count = 0;
        for (auto it = boost::asio::buffer_sequence_begin(buffers);
             it != boost::asio::buffer_sequence_end(buffers); ++it) {
          const boost::asio::const_buffer buffer(*it);
          body_.append(static_cast<const char*>(buffer.data()), buffer.size());
          count += buffer.size();
        }
        error = {};
        if (body_.size() > kMaxBodyBytes) error = http::error::body_limit;
        return count;
      }
      void finish(boost::system::error_code& error) { error = {}; }

     private:
      value_type& body_;
    };
  };

  http::request_parser<GrowingBody> parser;
};

RequestParser::RequestParser() : beast_(std::make_unique<Beast>()) {
  beast_->parser.header_limit(kMaxHeadBytes);
  beast_->parser.body_limit(boost::none);  // looked at below, where the head has been kept
}
RequestParser::~RequestParser() = default;

void RequestParser::fail(int status, std::string message) {
  state_ = State::kBad;
  error_status_ = status;
  error_ = std::move(message);
}

void RequestParser::read_head() {
  const auto& request = beast_->parser.get();
  head_.method = std::string(request.method_string());
  head_.target = std::string(request.target());
  head_.http_1_0 = request.version() < 11;
  head_.keep_alive = request.keep_alive();
  head_.content_length = beast_->parser.content_length().has_value()
                             ? std::optional<uint64_t>(*beast_->parser.content_length())
                             : std::nullopt;
  head_.has_body = beast_->parser.chunked() || head_.content_length.value_or(0) > 0;
  head_.host = text_of(request, http::field::host);
  head_.authorization = text_of(request, http::field::authorization);
  head_.x_api_key = text_of(request, "x-api-key");
  head_.content_type = text_of(request, http::field::content_type);
  head_.content_encoding = text_of(request, http::field::content_encoding);
  head_.origin = text_of(request, http::field::origin);
  head_.accept_encoding = text_of(request, http::field::accept_encoding);
  head_.if_none_match = text_of(request, http::field::if_none_match);
  head_.request_id = text_of(request, "x-request-id");
  head_.anthropic_version = text_of(request, "anthropic-version");
  head_.expect_continue = boost::beast::iequals(request[http::field::expect], "100-continue");
  state_ = beast_->parser.is_done() ? State::kDone : State::kBody;
  if (!head_.http_1_0 && head_.host.empty()) fail(400, "the request has no Host header");
  if (head_.content_length.value_or(0) > kMaxBodyBytes) fail(413, kBodyTooLarge);
}

size_t RequestParser::put(std::string_view bytes) {
  CHECK(state_ == State::kHead || state_ == State::kBody);
  boost::system::error_code error;
  auto& parser = beast_->parser;
  parser.eager(state_ == State::kBody);
  const size_t used = parser.put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
  // Beast's limit is one for each piece of a head.
  if (state_ == State::kHead && (head_bytes_ += used) > kMaxHeadBytes && !error) {
    error = http::error::header_limit;
  }
  if (error == http::error::need_more) error = {};
  if (error) {
    if (error == http::error::header_limit) {
      fail(431, "the head of the request is larger than 64 KiB");
    } else if (error == http::error::body_limit) {
      fail(413, kBodyTooLarge);
    } else {
      fail(400, "this is no HTTP request: " + error.message());
    }
    return used;
  }
  if (state_ == State::kHead && parser.is_header_done()) {
    read_head();
  } else if (state_ == State::kBody && parser.is_done()) {
    state_ = State::kDone;
  }
  return used;
}

std::string RequestParser::take_body() {
  CHECK(state_ == State::kDone);
  return std::move(beast_->parser.get().body());
}

}  // namespace ferry::server
