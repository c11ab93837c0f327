// Text from outside (a file, a request, a flag) in a message: one line of UTF-8, whatever it holds.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ferry {

// `text` with control characters and broken UTF-8 as \xNN, cut after `max_bytes` bytes (and "…"),
// but never within a character.
std::string one_line(std::string_view text, size_t max_bytes = 200);

// The same in quotes: a name from outside.
std::string quote_name(std::string_view name, size_t max_bytes = 200);

// True if one_line() would leave `text` as it is, however long it is.
bool is_one_line(std::string_view text);

// True if `text` is well-formed UTF-8 (no overlong forms, no surrogates).
bool is_utf8(std::string_view text);

}  // namespace ferry
