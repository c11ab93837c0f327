// The head of a reply, and the pieces of one whose length nobody knows yet. Pure text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ferry::server {

struct ReplyHead {
  int status = 200;
  std::string_view content_type;
  std::optional<size_t> content_length;  // none: chunked, or until the connection ends
  bool http_1_0 = false;
  bool close = false;
  std::string_view version;  // of ferry
  std::string_view request_id;
  std::string_view cors_origin;  // empty: none
  std::string_view more;         // complete lines

  std::string text() const;
};

std::string_view status_text(int status);

// One chunk of a chunked body. REQUIRES: !data.empty()
std::string chunk(std::string_view data);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace ferry::server
