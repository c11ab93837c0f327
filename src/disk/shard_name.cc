// See shard_name.h.
#include "disk/shard_name.h"

#include <fmt/format.h>

#include <charconv>

namespace ferry::disk {
namespace {

constexpr size_t kDigits = 5;

std::optional<int> parse_digits(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

}  // namespace

std::string ShardName::with_number(int other) const {
  return fmt::format("{}-{:05}-of-{:05}{}", stem, other, count, extension);
}

std::optional<ShardName> parse_shard_name(std::string_view file_name) {
  const size_t dot = file_name.rfind('.');
  constexpr size_t kTail = 1 + kDigits + 4 + kDigits;  // "-00001-of-00002"
  if (dot == std::string_view::npos || dot < kTail + 1) return std::nullopt;
  const std::string_view tail = file_name.substr(dot - kTail, kTail);
  if (tail[0] != '-' || tail.substr(1 + kDigits, 4) != "-of-") return std::nullopt;
  const auto number = parse_digits(tail.substr(1, kDigits));
  const auto count = parse_digits(tail.substr(kTail - kDigits));
  if (!number || !count || *number > *count) return std::nullopt;
  return ShardName{std::string(file_name.substr(0, dot - kTail)), *number, *count,
                   std::string(file_name.substr(dot))};
}

}  // namespace ferry::disk
