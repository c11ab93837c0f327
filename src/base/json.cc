#include "base/json.h"

#include <cmath>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/quote_name.h"

namespace ferry {
namespace {

constexpr size_t kMaxParseError = 300;  // bytes of nlohmann's text

// Builds the value while it checks the limits. nlohmann's own DOM builder keeps the last of two
// equal keys and has no limits, hence this one. Its parser is iterative, so depth costs heap only.
class LimitedBuilder : public nlohmann::json_sax<Json> {
 public:
  explicit LimitedBuilder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return add(Json(nullptr)); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(number_integer_t value) override { return add(Json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return add(Json(value)); }
  bool number_float(number_float_t value, const string_t&) override { return add(Json(value)); }
  bool string(string_t& value) override { return add(Json(std::move(value))); }
  bool binary(binary_t&) override { return fail("binary value"); }

  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    Level& level = stack_.back();
    if (!level.keys.insert(value).second) {
      return fail(fmt::format("key {} appears twice in one object", quote_name(value)));
    }
    level.key = std::move(value);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const Json::exception& error) override {
    std::string_view what = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..." → the last part.
    if (auto end = what.find("] "); end != std::string_view::npos) what.remove_prefix(end + 2);
    // It ends with all that was read of a string, as it is.
    error_ = fmt::format("not valid JSON at byte {}: {}", position, one_line(what, kMaxParseError));
    return false;
  }

  Json take() { return std::move(root_); }
  const std::string& error() const { return error_; }

 private:
  struct Level {
    Json value;
    std::string key;
    std::unordered_set<std::string> keys;
  };

  bool fail(std::string message) {
    error_ = std::move(message);
    return false;
  }
  bool count() {
    if (++num_values_ > limits_.max_values) {
      return fail(fmt::format("more than {} JSON values", limits_.max_values));
    }
    return true;
  }
  bool add(Json value) {
    if (!count()) return false;
    attach(std::move(value));
    return true;
  }
  void attach(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (stack_.back().value.is_array()) {
      stack_.back().value.get_ref<Json::array_t&>().push_back(std::move(value));
    } else {
      // The key is known to be new, so no search through the ordered map is needed.
      auto& object = stack_.back().value.get_ref<Json::object_t&>();
      static_cast<std::vector<Json::object_t::value_type>&>(object).emplace_back(
          std::move(stack_.back().key), std::move(value));
    }
  }
  bool open(Json value) {
    if (!count()) return false;
    if (static_cast<int>(stack_.size()) >= limits_.max_depth) {
      return fail(fmt::format("JSON nested deeper than {} levels", limits_.max_depth));
    }
    stack_.push_back({std::move(value), {}, {}});
    return true;
  }
  bool close() {
    Json value = std::move(stack_.back().value);
    stack_.pop_back();
    attach(std::move(value));
    return true;
  }

  const JsonLimits& limits_;
  std::vector<Level> stack_;
  Json root_;
  std::string error_;
  int64_t num_values_ = 0;
};

Error wrong_type(std::string_view key, std::string_view expected, const Json* found) {
  return invalid_input("{}: expected {}, found {}", key, expected,
                       found == nullptr ? "nothing" : json_type_name(*found));
}

}  // namespace

Result<Json> parse_json(std::string_view text, const JsonLimits& limits) {
  if (static_cast<int64_t>(text.size()) > limits.max_bytes) {
    return invalid_input("JSON text of {} bytes, the limit is {}", text.size(), limits.max_bytes);
  }
  // The parser takes a zero byte for the end of the text and would ignore what follows it.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    return invalid_input("not valid JSON at byte {}: a zero byte", zero);
  }
  LimitedBuilder builder(limits);
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    return invalid_input("{}", builder.error());
  }
  return builder.take();
}

std::string_view json_type_name(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null: return "null";
    case Json::value_t::object: return "an object";
    case Json::value_t::array: return "an array";
    case Json::value_t::string: return "a string";
    case Json::value_t::boolean: return "a boolean";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned: return "an integer";
    case Json::value_t::number_float: return "a number";
    default: return "an unknown value";
  }
}

const Json* json_find(const Json& object, std::string_view key) {
  auto it = object.find(std::string(key));
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

Result<int64_t> json_int(const Json& object, std::string_view key) {
  const Json* value = json_find(object, key);
  if (value != nullptr && value->is_number_integer()) {
    if (value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX) {
      return invalid_input("{}: {} does not fit into 64 bits", key, value->get<uint64_t>());
    }
    return value->get<int64_t>();
  }
  // Some exporters write 1024.0 for an integer.
  if (value != nullptr && value->is_number_float()) {
    const double number = value->get<double>();
    if (number == std::floor(number) && std::abs(number) < 0x1p53) {
      return static_cast<int64_t>(number);
    }
  }
  return wrong_type(key, "an integer", value);
}

Result<double> json_number(const Json& object, std::string_view key) {
  const Json* value = json_find(object, key);
  if (value == nullptr || !value->is_number()) return wrong_type(key, "a number", value);
  const double number = value->get<double>();
  if (!std::isfinite(number)) return invalid_input("{}: expected a finite number", key);
  return number;
}

Result<bool> json_bool(const Json& object, std::string_view key) {
  const Json* value = json_find(object, key);
  if (value == nullptr || !value->is_boolean()) return wrong_type(key, "a boolean", value);
  return value->get<bool>();
}

Result<std::string> json_string(const Json& object, std::string_view key) {
  const Json* value = json_find(object, key);
  if (value == nullptr || !value->is_string()) return wrong_type(key, "a string", value);
  return value->get<std::string>();
}

Result<int64_t> json_int_or(const Json& object, std::string_view key, int64_t fallback) {
  return json_find(object, key) == nullptr ? Result<int64_t>(fallback) : json_int(object, key);
}
Result<double> json_number_or(const Json& object, std::string_view key, double fallback) {
  return json_find(object, key) == nullptr ? Result<double>(fallback) : json_number(object, key);
}
Result<bool> json_bool_or(const Json& object, std::string_view key, bool fallback) {
  return json_find(object, key) == nullptr ? Result<bool>(fallback) : json_bool(object, key);
}
Result<std::string> json_string_or(const Json& object, std::string_view key, std::string fallback) {
  return json_find(object, key) == nullptr ? Result<std::string>(std::move(fallback))
                                           : json_string(object, key);
}

}  // namespace ferry
