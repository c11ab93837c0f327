// UTF-8 as the tokenizer needs it: stepping through bytes that may be invalid, the replacement of
// invalid bytes by U+FFFD (one per maximal invalid subpart, as the WHATWG decoder does), and the
// printable alphabet of byte-level vocabularies.
//
// Byte alphabet: bytes 33–126, 161–172 and 174–255 stand for the character of the same number; the
// other 68, in ascending order, for U+0100 + n. So a space is "Ġ" (U+0120) and a newline "Ċ".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ferry::text {

struct Utf8Step {
  enum class Kind {
    kValid,       // one character of `length` bytes
    kInvalid,     // `length` bytes that no continuation can make valid: one U+FFFD
    kIncomplete,  // the text ends inside a character: `length` bytes to its end
  };
  Kind kind;
  size_t length;
  char32_t code_point;  // for kValid only
};

// The character, or the maximal invalid subpart, at text[at]. REQUIRES: at < text.size()
Utf8Step utf8_step(std::string_view text, size_t at);

// `text` with every maximal invalid subpart replaced by U+FFFD.
std::string utf8_lossy(std::string_view text);

// REQUIRES: a Unicode scalar value
void append_utf8(char32_t code_point, std::string& out);

// White_Space of the Unicode character database.
bool is_white_space(char32_t code_point);

// A letter, mark, decimal or letter number, connector punctuation or joiner: what regular
// expressions call a word character.
bool is_word_character(char32_t code_point);

// The bytes a token of a byte-level vocabulary stands for; nullopt if a character of it is outside
// the byte alphabet.
std::optional<std::string> bytes_from_alphabet(std::string_view token);

// The inverse: arbitrary bytes spelled in the byte alphabet.
std::string bytes_to_alphabet(std::string_view bytes);

}  // namespace ferry::text
