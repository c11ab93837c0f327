// API keys of `ferry serve`: kept as SHA-256 only, compared in constant time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ferry::cmd {

class ApiKeys {
 public:
  // Errors: an empty key, or one with spaces or control characters, which no header can carry.
  Status add(std::string_view key);
  // One key per line: as it is, or as "sha256:" and 64 hex digits of its SHA-256. Empty lines and
  // lines that begin with # are skipped. Errors name file and line, never a key.
  Status add_file(const std::string& path);

  bool empty() const { return digests_.empty(); }
  bool contains(std::string_view key) const;

 private:
  using Digest = std::array<uint8_t, 32>;
  static Digest digest_of(std::string_view key);
  Status add_line(std::string_view line);

  std::vector<Digest> digests_;
};

}  // namespace ferry::cmd
