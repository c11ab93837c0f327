// How the template interpreter reports a wrong template or a wrong value inside itself. Deep inside
// filters and operators a Result on every line would bury the semantics, so these files throw
// JinjaError; ChatTemplate::parse and ChatTemplate::render catch it and return a Result. It never
// leaves them.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include "ferry/result.h"

namespace ferry::text::jinja {

struct JinjaError {
  std::string message;  // one line, without the template's line number
  ErrorKind kind = ErrorKind::kInvalidInput;
  int line = 0;  // 0: the line of the node being evaluated
};

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw JinjaError{fmt::format(format, std::forward<Args>(args)...)};
}

// For what jinja2 has and ferry has not: said by name, never guessed.
template <typename... Args>
[[noreturn]] void fail_unsupported(fmt::format_string<Args...> format, Args&&... args) {
  throw JinjaError{fmt::format(format, std::forward<Args>(args)...), ErrorKind::kUnsupported};
}

template <typename... Args>
[[noreturn]] void fail_at(int line, fmt::format_string<Args...> format, Args&&... args) {
  throw JinjaError{fmt::format(format, std::forward<Args>(args)...), ErrorKind::kInvalidInput,
                   line};
}

}  // namespace ferry::text::jinja
