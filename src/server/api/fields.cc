// See fields.h.
#include "server/api/fields.h"

#include <fmt/format.h>

#include <cmath>

#include "base/quote_name.h"

namespace ferry::server::api {
namespace {

const Json kNoObject = Json::object();

}  // namespace

std::string path_of(std::string_view parent, std::string_view key) {
  return parent.empty() ? std::string(key) : fmt::format("{}.{}", parent, key);
}

std::string path_of(std::string_view parent, size_t index) {
  return fmt::format("{}[{}]", parent, index);
}

Fields::Fields(const Json& json, std::string path, Failure& failure)
    : json_(&json), path_(std::move(path)), failure_(&failure) {
  if (json.is_object()) return;
  const std::string_view found = json_type_name(json);
  fail({400,
        path_.empty() ? fmt::format("the body must be a JSON object, found {}", found)
                      : fmt::format("{}: expected an object, found {}", path_, found),
        path_, "invalid_type"});
  json_ = &kNoObject;
}

const Json* Fields::find(std::string_view key) const {
  if (failure_->has_value()) return nullptr;
  for (const auto& [name, value] : json_->get_ref<const Json::object_t&>()) {
    if (name == key) return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

void Fields::fail(ApiError error) const {
  if (!failure_->has_value()) *failure_ = std::move(error);
}

void Fields::fail_type(std::string_view key, std::string_view expected, const Json& found) const {
  fail({400, fmt::format("{}: expected {}, found {}", path(key), expected, json_type_name(found)),
        path(key), "invalid_type"});
}

void Fields::refuse(std::string_view key, std::string_view why) const {
  if (!has(key)) return;
  fail({400, fmt::format("{}: {}", path(key), why), path(key), "unsupported_parameter"});
}

std::optional<bool> Fields::boolean(std::string_view key) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_boolean()) return value->get<bool>();
  fail_type(key, "a boolean", *value);
  return std::nullopt;
}

std::optional<int64_t> Fields::integer(std::string_view key, int64_t low, int64_t high) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  std::optional<int64_t> number;
  if (value->is_number_unsigned()) {
    const auto large = value->get<uint64_t>();
    if (large <= static_cast<uint64_t>(INT64_MAX)) number = static_cast<int64_t>(large);
  } else if (value->is_number_integer()) {
    number = value->get<int64_t>();
  } else if (value->is_number_float()) {
    const double real = value->get<double>();
    if (std::floor(real) != real || std::abs(real) >= 0x1p53) {
      fail_type(key, "an integer", *value);
      return std::nullopt;
    }
    number = static_cast<int64_t>(real);
  } else {
    fail_type(key, "an integer", *value);
    return std::nullopt;
  }
  if (number.has_value() && *number >= low && *number <= high) return number;
  const std::string range =
      high == INT64_MAX ? fmt::format("{} or more", low) : fmt::format("{} to {}", low, high);
  fail(invalid_value(path(key), fmt::format("expected {}, found {}", range, value->dump())));
  return std::nullopt;
}

std::optional<double> Fields::number(std::string_view key, double low, double high) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    fail_type(key, "a number", *value);
    return std::nullopt;
  }
  const double number = value->get<double>();
  if (std::isfinite(number) && number >= low && number <= high) return number;
  fail(invalid_value(path(key),
                     fmt::format("expected {} to {}, found {}", low, high, value->dump())));
  return std::nullopt;
}

std::optional<std::string> Fields::string(std::string_view key) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  fail_type(key, "a string", *value);
  return std::nullopt;
}

std::optional<std::string> Fields::one_of(std::string_view key,
                                          std::initializer_list<std::string_view> allowed) {
  std::optional<std::string> value = string(key);
  if (!value.has_value()) return std::nullopt;
  std::string names;
  for (std::string_view name : allowed) {
    if (*value == name) return value;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  fail(unsupported_value(path(key),
                         fmt::format("expected one of {}; found {}", names, quote_name(*value))));
  return std::nullopt;
}

const Json* Fields::array(std::string_view key) {
  const Json* value = find(key);
  if (value == nullptr || value->is_array()) return value;
  fail_type(key, "an array", *value);
  return nullptr;
}

const Json* Fields::object(std::string_view key) {
  const Json* value = find(key);
  if (value == nullptr || value->is_object()) return value;
  fail_type(key, "an object", *value);
  return nullptr;
}

std::string Fields::required_string(std::string_view key) {
  if (!has(key)) fail(missing_field(path(key)));
  return string(key).value_or("");
}

const Json* Fields::required_array(std::string_view key) {
  if (!has(key)) fail(missing_field(path(key)));
  return array(key);
}

}  // namespace ferry::server::api
