// The inside half of Result (see include/ferry/result.h): constructors for errors and the macros
// that pass them up. `FERRY_TRY(auto x, f())` declares x from f()'s value or returns f()'s error.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include "ferry/result.h"

namespace ferry {

using Status = Result<void>;

template <typename... Args>
Error invalid_input(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::kInvalidInput, fmt::format(format, std::forward<Args>(args)...)};
}
template <typename... Args>
Error not_found(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::kNotFound, fmt::format(format, std::forward<Args>(args)...)};
}
template <typename... Args>
Error unsupported(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::kUnsupported, fmt::format(format, std::forward<Args>(args)...)};
}
template <typename... Args>
Error io_error(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::kIo, fmt::format(format, std::forward<Args>(args)...)};
}
template <typename... Args>
Error out_of_memory(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::kOutOfMemory, fmt::format(format, std::forward<Args>(args)...)};
}
template <typename... Args>
Error busy(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::kBusy, fmt::format(format, std::forward<Args>(args)...)};
}
template <typename... Args>
Error device_error(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::kDevice, fmt::format(format, std::forward<Args>(args)...)};
}

}  // namespace ferry

#define FERRY_CONCAT_INNER(a, b) a##b
#define FERRY_CONCAT(a, b) FERRY_CONCAT_INNER(a, b)

#define FERRY_TRY_IMPL(result, declaration, expression) \
  auto result = (expression);                           \
  if (!result.ok()) return std::move(result).error();   \
  declaration = std::move(result).value()

// FERRY_TRY(auto header, read_header(file));
#define FERRY_TRY(declaration, expression) \
  FERRY_TRY_IMPL(FERRY_CONCAT(ferry_result_, __LINE__), declaration, expression)

// FERRY_TRY_VOID(check_header(header));
#define FERRY_TRY_VOID(expression)                                  \
  do {                                                              \
    auto ferry_result = (expression);                               \
    if (!ferry_result.ok()) return std::move(ferry_result).error(); \
  } while (0)
