// ConfigReader: typed, bounded access to config.json. A file of models/ reads key after key without
// looking at errors; the first one sticks and status() reports it, naming the key, what was found
// and what was expected. Every size is bounded here, so that products of sizes can't overflow
// further up: vocab · hidden, experts · width · hidden · layers · 4 bytes all fit 63 bits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace ferry::nn {

inline constexpr int64_t kMaxLayers = 512;
inline constexpr int64_t kMaxHiddenSize = 1 << 17;
inline constexpr int64_t kMaxIntermediateSize = 1 << 20;
inline constexpr int64_t kMaxVocabSize = 1 << 24;
inline constexpr int64_t kMaxHeads = 1 << 12;
inline constexpr int64_t kMaxHeadDim = 1 << 12;
inline constexpr int64_t kMaxExperts = 1 << 12;
inline constexpr int64_t kMaxPositions = 1 << 30;

class ConfigReader {
 public:
  // `path` precedes the key in messages: "rope_scaling.". REQUIRES: object outlives the reader.
  explicit ConfigReader(const Json& object, std::string path = "");

  bool has(std::string_view key) const;  // there and not null

  // Within [low, high]. The _or forms take a fallback for a key that is absent or null.
  int64_t integer(std::string_view key, int64_t low, int64_t high);
  int64_t integer_or(std::string_view key, int64_t fallback, int64_t low, int64_t high);
  double number(std::string_view key, double low, double high);
  double number_or(std::string_view key, double fallback, double low, double high);
  bool boolean_or(std::string_view key, bool fallback);
  std::string string_or(std::string_view key, std::string fallback);
  // One integer, or a list of at most 64.
  std::vector<int64_t> integers_or_one(std::string_view key, int64_t low, int64_t high);

  // A list of exactly `count` numbers; empty when absent or null.
  std::vector<float> numbers(std::string_view key, int64_t count, double low, double high);

  // The object under `key`; nullptr when absent or null.
  const Json* object(std::string_view key);

  // Records an error that begins with the key, unless there is one already.
  void fail(std::string_view key, std::string_view found_and_expected);
  void fail(Error error);

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }

 private:
  std::string path_of(std::string_view key) const { return path_ + std::string(key); }
  void outside(std::string_view key, std::string found, std::string low, std::string high);

  const Json& object_;
  std::string path_;
  Status status_;
};

}  // namespace ferry::nn
