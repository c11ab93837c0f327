// See config_reader.h.
#include "nn/config_reader.h"

#include <utility>

#include "base/quote_name.h"

namespace ferry::nn {

ConfigReader::ConfigReader(const Json& object, std::string path)
    : object_(object), path_(std::move(path)) {}

void ConfigReader::fail(Error error) {
  if (status_.ok()) status_ = std::move(error);
}

void ConfigReader::fail(std::string_view key, std::string_view found_and_expected) {
  fail(invalid_input("{}: {}", path_of(key), found_and_expected));
}

void ConfigReader::outside(std::string_view key, std::string found, std::string low,
                           std::string high) {
  fail(key, fmt::format("found {}, expected {} to {}", found, low, high));
}

bool ConfigReader::has(std::string_view key) const { return json_find(object_, key) != nullptr; }

int64_t ConfigReader::integer(std::string_view key, int64_t low, int64_t high) {
  Result<int64_t> value = json_int(object_, key);
  if (!value.ok()) {
    fail(Error{value.error().kind, path_ + value.error().message});
    return low;
  }
  if (*value < low || *value > high) {
    outside(key, std::to_string(*value), std::to_string(low), std::to_string(high));
    return low;
  }
  return *value;
}

int64_t ConfigReader::integer_or(std::string_view key, int64_t fallback, int64_t low,
                                 int64_t high) {
  return has(key) ? integer(key, low, high) : fallback;
}

double ConfigReader::number(std::string_view key, double low, double high) {
  Result<double> value = json_number(object_, key);
  if (!value.ok()) {
    fail(Error{value.error().kind, path_ + value.error().message});
    return low;
  }
  if (!(*value >= low && *value <= high)) {
    outside(key, fmt::format("{}", *value), fmt::format("{}", low), fmt::format("{}", high));
    return low;
  }
  return *value;
}

double ConfigReader::number_or(std::string_view key, double fallback, double low, double high) {
  return has(key) ? number(key, low, high) : fallback;
}

bool ConfigReader::boolean_or(std::string_view key, bool fallback) {
  Result<bool> value = json_bool_or(object_, key, fallback);
  if (value.ok()) return *value;
  fail(Error{value.error().kind, path_ + value.error().message});
  return fallback;
}

std::string ConfigReader::string_or(std::string_view key, std::string fallback) {
  Result<std::string> value = json_string_or(object_, key, std::move(fallback));
  if (value.ok()) return *std::move(value);
  fail(Error{value.error().kind, path_ + value.error().message});
  return "";
}

std::vector<int64_t> ConfigReader::integers_or_one(std::string_view key, int64_t low,
                                                   int64_t high) {
  const Json* value = json_find(object_, key);
  if (value == nullptr) return {};
  if (!value->is_array()) return {integer(key, low, high)};
  constexpr size_t kMaxCount = 64;
  if (value->size() > kMaxCount) {
    fail(key, fmt::format("found {} values, expected at most {}", value->size(), kMaxCount));
    return {};
  }
  std::vector<int64_t> out;
  for (size_t i = 0; i < value->size(); ++i) {
    const std::string name = fmt::format("{}[{}]", key, i);  // of the element, in messages
    const Json one = {{name, (*value)[i]}};
    ConfigReader element(one, path_);
    out.push_back(element.integer(name, low, high));
    if (!element.ok()) fail(element.status().error());
  }
  return out;
}

std::vector<float> ConfigReader::numbers(std::string_view key, int64_t count, double low,
                                         double high) {
  const Json* value = json_find(object_, key);
  if (value == nullptr) return {};
  if (!value->is_array() || static_cast<int64_t>(value->size()) != count) {
    fail(key, fmt::format("expected a list of {} numbers, found {} of {}", count,
                          json_type_name(*value), value->size()));
    return {};
  }
  std::vector<float> out;
  for (const Json& item : *value) {
    const double number = item.is_number() ? item.get<double>() : low - 1.0;
    if (!(number >= low && number <= high)) {
      outside(fmt::format("{}[{}]", key, out.size()), quote_name(item.dump()),
              fmt::format("{}", low), fmt::format("{}", high));
      return {};
    }
    out.push_back(static_cast<float>(number));
  }
  return out;
}

const Json* ConfigReader::object(std::string_view key) {
  const Json* value = json_find(object_, key);
  if (value == nullptr || value->is_object()) return value;
  fail(key, fmt::format("expected an object, found {}", json_type_name(*value)));
  return nullptr;
}

}  // namespace ferry::nn
