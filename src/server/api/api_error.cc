// See api_error.h.
#include "server/api/api_error.h"

#include <fmt/format.h>

namespace ferry::server::api {
namespace {

std::string_view openai_type(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

std::string_view anthropic_type(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

bool is_path_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '[' ||
         c == ']';
}

// "messages[2].content: expected …" → "messages[2].content".
std::string leading_field(std::string_view message) {
  size_t end = 0;
  while (end < message.size() && is_path_character(message[end])) ++end;
  const bool is_field = end > 0 && end < message.size() && message[end] == ':' &&
                        message[0] >= 'a' && message[0] <= 'z';
  return is_field ? std::string(message.substr(0, end)) : std::string();
}

}  // namespace

ApiError invalid_value(std::string param, std::string message) {
  return {400, fmt::format("{}: {}", param, message), param, "invalid_value"};
}

ApiError unsupported_value(std::string param, std::string message) {
  return {400, fmt::format("{}: {}", param, message), param, "unsupported_value"};
}

ApiError missing_field(std::string param) {
  return {400, fmt::format("{}: this field is required", param), param,
          "missing_required_parameter"};
}

ApiError from_engine(const Error& error) {
  ApiError out{.status = 500, .message = error.message, .param = {}, .code = {}};
  switch (error.kind) {
    case ErrorKind::kInvalidInput:
    case ErrorKind::kNotFound:
    case ErrorKind::kUnsupported:
      out.status = 400;
      out.param = leading_field(error.message);
      if (out.param == "schema" || out.param == "regex" || out.param == "choice") {
        out.param = "response_format";  // where clients of these APIs wrote it
      }
      out.code = error.kind == ErrorKind::kUnsupported ? "unsupported_value" : "invalid_value";
      if (out.param == "prompt" && error.message.find("context") != std::string::npos) {
        out.code = "context_length_exceeded";
      }
      break;
    case ErrorKind::kBusy:
      out.status = 429;
      out.code = "rate_limit_exceeded";
      break;
    case ErrorKind::kCancelled: out.status = 503; break;
    case ErrorKind::kIo:
    case ErrorKind::kOutOfMemory:
    case ErrorKind::kDevice: break;
  }
  return out;
}

Json error_json(Dialect dialect, const ApiError& error) {
  if (dialect == Dialect::kAnthropic) {
    return {{"type", "error"},
            {"error", {{"type", anthropic_type(error.status)}, {"message", error.message}}}};
  }
  Json inner;
  inner["message"] = error.message;
  inner["type"] = openai_type(error.status);
  inner["param"] = error.param.empty() ? Json(nullptr) : Json(error.param);
  inner["code"] = error.code.empty() ? Json(nullptr) : Json(error.code);
  return {{"error", std::move(inner)}};
}

std::string error_body(Dialect dialect, const ApiError& error, std::string_view request_id) {
  Json body = error_json(dialect, error);
  if (dialect == Dialect::kAnthropic && !request_id.empty()) body["request_id"] = request_id;
  return dump(body);
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ferry::server::api
