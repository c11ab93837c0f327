// The values of `format` that can be promised, each as a regular expression that every validator of
// that format accepts (some valid strings are left out: comments in e-mail addresses, leap
// seconds).
#pragma once

#include <optional>
#include <string_view>

namespace ferry::grammar {

// For RegexMatch::kWhole. nullopt: not one of them.
std::optional<std::string_view> format_regex(std::string_view format);

// Formats that say how a value is kept, not what it looks like: "password", "double", …
bool is_storage_format(std::string_view format);

}  // namespace ferry::grammar
