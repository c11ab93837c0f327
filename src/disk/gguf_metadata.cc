// See gguf_metadata.h.
#include "disk/gguf_metadata.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "base/quote_name.h"

namespace ferry::disk {
namespace {

template <typename T>
T load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// f32 values are decimal fractions that somebody wrote (1e-6, 0.707) and a converter rounded. The
// shortest decimal that rounds to the same f32 gives back what was written.
double shortest_decimal(float value) {
  if (!std::isfinite(value)) return value;
  char text[64];
  const auto written = std::to_chars(text, text + sizeof text, value);
  double out = value;
  std::from_chars(text, written.ptr, out);
  return out;
}

// nullopt: not an integer type, or a u64 above the largest i64.
std::optional<int64_t> load_int(GgufType type, const uint8_t* bytes) {
  switch (type) {
    case GgufType::kU8: return bytes[0];
    case GgufType::kI8: return load<int8_t>(bytes);
    case GgufType::kU16: return load<uint16_t>(bytes);
    case GgufType::kI16: return load<int16_t>(bytes);
    case GgufType::kU32: return load<uint32_t>(bytes);
    case GgufType::kI32: return load<int32_t>(bytes);
    case GgufType::kI64: return load<int64_t>(bytes);
    case GgufType::kU64: {
      const auto value = load<uint64_t>(bytes);
      return value > INT64_MAX ? std::nullopt : std::optional<int64_t>(value);
    }
    default: return std::nullopt;
  }
}

std::optional<double> load_number(GgufType type, const uint8_t* bytes) {
  if (type == GgufType::kF32) return shortest_decimal(load<float>(bytes));
  if (type == GgufType::kF64) return load<double>(bytes);
  if (type == GgufType::kU64) return static_cast<double>(load<uint64_t>(bytes));
  if (auto value = load_int(type, bytes)) return static_cast<double>(*value);
  return std::nullopt;
}

}  // namespace

std::string_view gguf_type_name(GgufType type) {
  static constexpr std::string_view kNames[] = {"u8",  "i8",  "u16",  "i16",    "u32",
                                                "i32", "f32", "bool", "string", "array",
                                                "u64", "i64", "f64"};
  const auto index = static_cast<uint32_t>(type);
  return index < std::size(kNames) ? kNames[index] : "?";
}

int64_t gguf_type_bytes(GgufType type) {
  static constexpr int kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  const auto index = static_cast<uint32_t>(type);
  return index < std::size(kBytes) ? kBytes[index] : -1;
}

std::string GgufValue::type_text() const {
  if (type != GgufType::kArray) return std::string(gguf_type_name(type));
  return fmt::format("array of {}", gguf_type_name(element_type));
}

bool GgufMetadata::add(std::string key, GgufValue value) {
  if (!values_.emplace(key, value).second) return false;
  keys_.push_back(std::move(key));
  return true;
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  auto it = values_.find(std::string(key));
  return it == values_.end() ? nullptr : &it->second;
}

Error GgufMetadata::wrong_type(std::string_view key, const GgufValue& value,
                               std::string_view expected) const {
  return invalid_input("{}: key {}: expected {}, found {}", path(), quote_name(key), expected,
                       value.type_text());
}

Result<const GgufValue*> GgufMetadata::expect(std::string_view key,
                                              std::string_view expected) const {
  const GgufValue* value = find(key);
  if (value == nullptr) {
    return not_found("{}: key {} is missing, expected {}", path(), quote_name(key), expected);
  }
  return value;
}

Result<const GgufValue*> GgufMetadata::expect_array(std::string_view key,
                                                    std::string_view expected) const {
  FERRY_TRY(const GgufValue* value, expect(key, expected));
  if (value->type != GgufType::kArray) return wrong_type(key, *value, expected);
  return value;
}

Result<int64_t> GgufMetadata::get_i64(std::string_view key) const {
  FERRY_TRY(const GgufValue* value, expect(key, "an integer"));
  if (auto number = load_int(value->type, value->bytes.data())) return *number;
  if (value->type == GgufType::kU64) {
    return invalid_input("{}: key {}: {} does not fit into 63 bits", path(), quote_name(key),
                         load<uint64_t>(value->bytes.data()));
  }
  return wrong_type(key, *value, "an integer");
}

Result<uint64_t> GgufMetadata::get_u64(std::string_view key) const {
  FERRY_TRY(const GgufValue* value, expect(key, "an integer that is not negative"));
  if (value->type == GgufType::kU64) return load<uint64_t>(value->bytes.data());
  const auto number = load_int(value->type, value->bytes.data());
  if (!number) return wrong_type(key, *value, "an integer that is not negative");
  if (*number < 0) {
    return invalid_input("{}: key {}: expected an integer that is not negative, found {}", path(),
                         quote_name(key), *number);
  }
  return static_cast<uint64_t>(*number);
}

Result<double> GgufMetadata::get_f64(std::string_view key) const {
  FERRY_TRY(const GgufValue* value, expect(key, "a number"));
  const auto number = load_number(value->type, value->bytes.data());
  if (!number) return wrong_type(key, *value, "a number");
  if (!std::isfinite(*number)) {
    return invalid_input("{}: key {}: expected a finite number, found {}", path(), quote_name(key),
                         *number);
  }
  return *number;
}

Result<bool> GgufMetadata::get_bool(std::string_view key) const {
  FERRY_TRY(const GgufValue* value, expect(key, "a bool"));
  if (value->type != GgufType::kBool) return wrong_type(key, *value, "a bool");
  return value->bytes[0] != 0;
}

Result<std::string_view> GgufMetadata::get_string(std::string_view key) const {
  FERRY_TRY(const GgufValue* value, expect(key, "a string"));
  if (value->type != GgufType::kString) return wrong_type(key, *value, "a string");
  return std::string_view(reinterpret_cast<const char*>(value->bytes.data()), value->bytes.size());
}

Result<std::vector<std::string_view>> GgufMetadata::get_strings(std::string_view key) const {
  FERRY_TRY(const GgufValue* value, expect_array(key, "an array of string"));
  if (value->element_type != GgufType::kString && value->count != 0) {
    return wrong_type(key, *value, "an array of string");
  }
  std::vector<std::string_view> out;
  out.reserve(value->count);
  const uint8_t* at = value->bytes.data();
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto length = load<uint64_t>(at);
    out.emplace_back(reinterpret_cast<const char*>(at) + 8, length);
    at += 8 + length;
  }
  return out;
}

Result<std::vector<int64_t>> GgufMetadata::get_ints(std::string_view key) const {
  FERRY_TRY(const GgufValue* value, expect_array(key, "an array of integers"));
  const int64_t step = gguf_type_bytes(value->element_type);
  std::vector<int64_t> out;
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto number =
        step == 0 ? std::nullopt : load_int(value->element_type, value->bytes.data() + i * step);
    if (!number) return wrong_type(key, *value, "an array of integers");
    out.push_back(*number);
  }
  return out;
}

Result<std::vector<double>> GgufMetadata::get_floats(std::string_view key) const {
  FERRY_TRY(const GgufValue* value, expect_array(key, "an array of numbers"));
  const int64_t step = gguf_type_bytes(value->element_type);
  std::vector<double> out;
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto number =
        step == 0 ? std::nullopt : load_number(value->element_type, value->bytes.data() + i * step);
    if (!number) return wrong_type(key, *value, "an array of numbers");
    out.push_back(*number);
  }
  return out;
}

Result<uint64_t> GgufMetadata::get_u64_or(std::string_view key, uint64_t fallback) const {
  return has(key) ? get_u64(key) : Result<uint64_t>(fallback);
}
Result<int64_t> GgufMetadata::get_i64_or(std::string_view key, int64_t fallback) const {
  return has(key) ? get_i64(key) : Result<int64_t>(fallback);
}
Result<double> GgufMetadata::get_f64_or(std::string_view key, double fallback) const {
  return has(key) ? get_f64(key) : Result<double>(fallback);
}
Result<bool> GgufMetadata::get_bool_or(std::string_view key, bool fallback) const {
  return has(key) ? get_bool(key) : Result<bool>(fallback);
}
Result<std::string_view> GgufMetadata::get_string_or(std::string_view key,
                                                     std::string_view fallback) const {
  return has(key) ? get_string(key) : Result<std::string_view>(fallback);
}

}  // namespace ferry::disk
