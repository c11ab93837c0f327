// quote_name(): a name from a file, fit for a one-line message: in quotes, control characters and
// broken UTF-8 as \xNN, cut after 200 bytes.
#pragma once

#include <string>
#include <string_view>

namespace ferry::disk {

std::string quote_name(std::string_view name);

// True if `text` is well-formed UTF-8 (no overlong forms, no surrogates).
bool is_utf8(std::string_view text);

}  // namespace ferry::disk
