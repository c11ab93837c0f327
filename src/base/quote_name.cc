// See quote_name.h.
#include "base/quote_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace ferry {
namespace {

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

// False for what is no character and for control characters, C1's (U+0080 to U+009F) among them.
bool is_shown(std::string_view character) {
  const auto lead = static_cast<uint8_t>(character[0]);
  if (character.size() == 1) return lead >= 0x20 && lead < 0x7f;
  return lead != 0xc2 || static_cast<uint8_t>(character[1]) >= 0xa0;
}

}  // namespace

std::string one_line(std::string_view text, size_t max_bytes) {
  std::string out;
  size_t i = 0;
  while (i < text.size() && i < max_bytes) {
    const std::string_view character =
        text.substr(i, std::max<size_t>(character_bytes(text.substr(i)), 1));
    if (is_shown(character)) {
      out += character;
    } else {
      for (char c : character) {
        fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<uint8_t>(c));
      }
    }
    i += character.size();
  }
  return i < text.size() ? out + "…" : out;
}

std::string quote_name(std::string_view name, size_t max_bytes) {
  return "\"" + one_line(name, max_bytes) + "\"";
}

bool is_one_line(std::string_view text) { return one_line(text, text.size()) == text; }

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = character_bytes(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace ferry
