// HTTP GET for `ferry pull`, over libcurl: bytes go to a sink as they come, redirects are followed
// here and not by the library, so that it is visible in one place which host gets the token.
//
// The token is sent to one origin (scheme, host and port) and to no other, whatever a redirect or a
// link says. A redirect from https to http is refused.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"

namespace ferry::cmd {

struct HttpSettings {
  std::string origin;          // a URL whose origin may see the token
  std::string token;           // "" for none
  std::function<bool()> stop;  // asked at least once a second; true ends the transfer
};

struct HttpResponse {
  int status = 0;                // of the last answer; 0 when there was none
  std::string failure;           // why the transfer broke off; "" when it is complete
  bool permanent = false;        // the failure will be the same next time
  bool stopped = false;          // HttpSettings::stop said so
  std::optional<Error> refused;  // what the sink returned
  int64_t retry_after_s = 0;     // what the server asks for; 0 when it does not
  int64_t content_length = -1;   // -1: not announced
  std::string content_range;     // headers, "" when absent
  std::string link;

  bool complete(int wanted) const { return status == wanted && failure.empty() && !refused; }
};

// Called with the bytes of an answer of status 2xx; status and headers are known by then. An error
// ends the transfer.
using HttpSink = std::function<Status(const HttpResponse&, std::span<const uint8_t>)>;

// One connection, kept between requests. Not thread-safe: one for each thread.
class HttpClient {
 public:
  explicit HttpClient(HttpSettings settings);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // `offset` > 0 asks for the bytes from there on ("Range"); the server may answer 200
  // all the same.
  HttpResponse get(const std::string& url, int64_t offset, const HttpSink& sink);

 private:
  HttpResponse get_once(const std::string& url, int64_t offset, const HttpSink& sink,
                        std::string* redirect);

  HttpSettings settings_;
  std::string token_origin_;
  void* handle_;  // CURL*
};

// With A to Z as a to z.
std::string lower(std::string_view text);

// "https://host:443" in lower case; "" for what is no http or https URL.
std::string origin_of(const std::string& url);

// Everything but letters, digits, '-', '.', '_', '~' (and '/', if kept) as %XX.
std::string percent_encode(std::string_view text, bool keep_slash);

}  // namespace ferry::cmd
