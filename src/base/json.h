// JSON from outside, parsed under written limits: depth, size, number of values, and no key twice
// in an object (a doubled tensor name must not silently win). Key order is kept.
//
// The typed getters below name the key and both types when a config is wrong:
//   "hidden_size: expected an integer, found a string"
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ferry {

using Json = nlohmann::ordered_json;

struct JsonLimits {
  int64_t max_bytes = 256 << 20;
  int max_depth = 128;
  int64_t max_values = 20'000'000;
};

// Parses one complete JSON text. Errors carry the byte offset. Invalid UTF-8 is an error.
Result<Json> parse_json(std::string_view text, const JsonLimits& limits = {});

// "an object", "a string", "an integer", "a number", ...: for messages.
std::string_view json_type_name(const Json& value);

// Typed access to object[key]. Errors name the key, the type found and the type expected.
// REQUIRES: object.is_object()
Result<int64_t> json_int(const Json& object, std::string_view key);
Result<double> json_number(const Json& object, std::string_view key);  // finite
Result<bool> json_bool(const Json& object, std::string_view key);
Result<std::string> json_string(const Json& object, std::string_view key);

// The same with a default for a key that is absent or null; a wrong type is still an error.
Result<int64_t> json_int_or(const Json& object, std::string_view key, int64_t fallback);
Result<double> json_number_or(const Json& object, std::string_view key, double fallback);
Result<bool> json_bool_or(const Json& object, std::string_view key, bool fallback);
Result<std::string> json_string_or(const Json& object, std::string_view key, std::string fallback);

// nullptr when absent or null.
const Json* json_find(const Json& object, std::string_view key);

}  // namespace ferry
