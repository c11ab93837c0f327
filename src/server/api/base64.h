// Base64 (RFC 4648, with padding): how vectors travel in JSON.
#pragma once

#include <string>
#include <string_view>

namespace ferry::server::api {

std::string base64(std::string_view bytes);

}  // namespace ferry::server::api
