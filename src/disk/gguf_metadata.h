// GgufMetadata: the key-values of a GGUF file, typed and checked when the file is read, and left
// where they are: a vocabulary of 150,000 strings costs no copy until someone asks for it.
//
// Numbers are asked for by meaning, not by width: get_u64 takes any integer that is not negative,
// get_f64 any number. Errors name the file, the key, the type found and the type expected.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "disk/mapped_file.h"

namespace ferry::disk {

enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// "u32", "string", …; "?" for a number that is not a type.
std::string_view gguf_type_name(GgufType type);
// Bytes of one value; 0 for strings and arrays, -1 for a number that is not a type.
int64_t gguf_type_bytes(GgufType type);

struct GgufValue {
  GgufType type = GgufType::kU32;
  GgufType element_type = GgufType::kU32;  // of an array
  uint64_t count = 1;                      // of an array
  // A scalar: its bytes. A string: its text. An array: its elements as the file has them.
  std::span<const uint8_t> bytes;

  std::string type_text() const;  // "u32", "array of string"
};

class GgufMetadata {
 public:
  explicit GgufMetadata(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {}

  const std::string& path() const { return file_->path(); }
  const std::vector<std::string>& keys() const { return keys_; }  // in the order of the file
  const GgufValue* find(std::string_view key) const;              // nullptr if absent
  bool has(std::string_view key) const { return find(key) != nullptr; }

  Result<uint64_t> get_u64(std::string_view key) const;
  Result<int64_t> get_i64(std::string_view key) const;
  Result<double> get_f64(std::string_view key) const;  // finite
  Result<bool> get_bool(std::string_view key) const;
  // The text stays in the file: valid as long as this object or a copy of it lives.
  Result<std::string_view> get_string(std::string_view key) const;
  Result<std::vector<std::string_view>> get_strings(std::string_view key) const;
  Result<std::vector<int64_t>> get_ints(std::string_view key) const;
  Result<std::vector<double>> get_floats(std::string_view key) const;

  // The same with a default for an absent key; a wrong type is still an error.
  Result<uint64_t> get_u64_or(std::string_view key, uint64_t fallback) const;
  Result<int64_t> get_i64_or(std::string_view key, int64_t fallback) const;
  Result<double> get_f64_or(std::string_view key, double fallback) const;
  Result<bool> get_bool_or(std::string_view key, bool fallback) const;
  Result<std::string_view> get_string_or(std::string_view key, std::string_view fallback) const;

  // For the reader. False if the key is there already.
  bool add(std::string key, GgufValue value);

 private:
  Result<const GgufValue*> expect(std::string_view key, std::string_view expected) const;
  Result<const GgufValue*> expect_array(std::string_view key, std::string_view expected) const;
  Error wrong_type(std::string_view key, const GgufValue& value, std::string_view expected) const;

  std::shared_ptr<const MappedFile> file_;
  std::vector<std::string> keys_;
  std::unordered_map<std::string, GgufValue> values_;
};

}  // namespace ferry::disk
