// Result<T>: a value, or an Error that says what was found, what was expected, and where.
//
// Everything that comes from outside (a file, a request, a flag, a driver) is reported this way;
// ferry never throws across its public API. Bugs inside ferry end in CHECK instead.
// Thread safety: values; share them like any other value.
#pragma once

#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace ferry {

enum class ErrorKind {
  kInvalidInput,  // a file, flag, field or request is wrong           → exit code 2
  kNotFound,      // a file, model, tensor or key is not there         → exit code 2
  kUnsupported,   // understood, but not something this build can run  → exit code 2
  kIo,            // the operating system or the network refused       → exit code 3
  kOutOfMemory,   // would not fit; the message has the numbers        → exit code 4
  kDevice,        // a driver or chip reported an error                → exit code 5
  kBusy,          // too much is waiting already; try again later      → exit code 6
  kCancelled,     // stopped because someone asked                     → exit code 130
};

struct Error {
  ErrorKind kind = ErrorKind::kInvalidInput;
  std::string message;  // one line, no trailing newline

  // The same error with "context: " in front: the file, tensor or field it happened in.
  Error in(const std::string& context) const { return {kind, context + ": " + message}; }
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // REQUIRES: ok()
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // REQUIRES: !ok()
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), ok_(false) {}  // NOLINT: implicit

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const Error& error() const& { return error_; }
  Error&& error() && { return std::move(error_); }

 private:
  Error error_;
  bool ok_ = true;
};

}  // namespace ferry
