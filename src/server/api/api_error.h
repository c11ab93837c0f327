// What a client is told when its request can't be answered: an HTTP status and the fields of both
// error shapes. The shape itself depends on the dialect of the route and is never mixed:
//   OpenAI     {"error": {"message", "type", "param", "code"}}
//   Anthropic  {"type": "error", "error": {"type", "message"}, "request_id"}
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/json.h"
#include "ferry/result.h"

namespace ferry::server::api {

enum class Dialect { kOpenAi, kAnthropic };

struct ApiError {
  int status = 400;
  std::string message;
  std::string param;  // the field, as a path: messages[0].content; empty: none is to blame
  std::string code;   // empty: null
};

ApiError invalid_value(std::string param, std::string message);
ApiError unsupported_value(std::string param, std::string message);
ApiError missing_field(std::string param);

// A refusal of the engine: the field it names in front of its message becomes `param`.
// kBusy → 429, kInvalidInput, kNotFound and kUnsupported → 400, a cancelled request → 503, all
// else → 500. A prompt that is too long gets the code context_length_exceeded.
ApiError from_engine(const Error& error);

// The JSON text of an error reply. `request_id` is part of Anthropic's shape only; may be empty.
std::string error_body(Dialect dialect, const ApiError& error, std::string_view request_id = {});
// The object in it, for events in the middle of a stream.
Json error_json(Dialect dialect, const ApiError& error);

// One line of JSON; bytes that are no UTF-8 become U+FFFD instead of an exception.
std::string dump(const Json& json);

// A value or an ApiError. The counterpart of Result for what has a status and a field.
template <typename T>
class [[nodiscard]] ApiResult {
 public:
  ApiResult(T value) : state_(std::in_place_index<0>, std::move(value)) {}         // NOLINT
  ApiResult(ApiError error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  // REQUIRES: ok()
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  // REQUIRES: !ok()
  const ApiError& error() const& { return std::get<1>(state_); }
  ApiError&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, ApiError> state_;
};

}  // namespace ferry::server::api
