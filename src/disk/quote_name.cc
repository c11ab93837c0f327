// See quote_name.h.
#include "disk/quote_name.h"

#include <fmt/format.h>

#include <cstdint>
#include <iterator>

namespace ferry::disk {
namespace {

constexpr size_t kMaxShownBytes = 200;

// Length of the UTF-8 character that `text` begins with; 0 if it begins with none.
size_t character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
  if (lead == 0xed && byte(1) > 0x9f) return 0;  // surrogate
  if (lead == 0xf0 && byte(1) < 0x90) return 0;  // overlong
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;  // past U+10FFFF
  return length;
}

}  // namespace

std::string quote_name(std::string_view name) {
  std::string out = "\"";
  size_t i = 0;
  while (i < name.size() && i < kMaxShownBytes) {
    const size_t length = character_bytes(name.substr(i));
    const auto byte = static_cast<uint8_t>(name[i]);
    if (length == 0 || byte < 0x20 || byte == 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte);
      ++i;
    } else {
      out += name.substr(i, length);
      i += length;
    }
  }
  return out + (i < name.size() ? "…\"" : "\"");
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = character_bytes(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace ferry::disk
