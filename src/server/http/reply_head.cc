// See reply_head.h.
#include "server/http/reply_head.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

namespace ferry::server {

std::string_view status_text(int status) {
  switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    default: return "Error";
  }
}

std::string ReplyHead::text() const {
  std::string out =
      fmt::format("HTTP/1.1 {} {}\r\nServer: ferry/{}\r\nDate: {:%a, %d %b %Y %T} GMT\r\n", status,
                  status_text(status), version, fmt::gmtime(std::time(nullptr)));
  if (!content_type.empty()) out += fmt::format("Content-Type: {}\r\n", content_type);
  if (status == 204 || status == 304) {
    // these have no body, and nothing says so twice
  } else if (content_length.has_value()) {
    out += fmt::format("Content-Length: {}\r\n", *content_length);
  } else if (!http_1_0) {
    out += "Transfer-Encoding: chunked\r\n";
  }
  if (!request_id.empty()) out += fmt::format("X-Request-Id: {}\r\n", request_id);
  if (!cors_origin.empty()) {
    out += fmt::format(
        "Access-Control-Allow-Origin: {}\r\nAccess-Control-Expose-Headers: X-Request-Id\r\n"
        "Vary: Origin\r\n",
        cors_origin);
  }
  if (close) {
    out += "Connection: close\r\n";
  } else if (http_1_0) {
    out += "Connection: keep-alive\r\n";
  }
  out += more;
  return out + "\r\n";
}

std::string chunk(std::string_view data) {
  return fmt::format("{:x}\r\n{}\r\n", data.size(), data);
}

}  // namespace ferry::server
