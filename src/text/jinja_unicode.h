// Strings as Python sees them: sequences of code points, with Python's ideas of white space, line
// ends, letter case and what can be printed. Text is UTF-8 and known to be valid.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ferry::text::jinja {

// Decodes the code point at `position` and moves past it. REQUIRES: position < text.size()
char32_t next_code_point(std::string_view text, size_t& position);
void append_code_point(std::string& out, char32_t code_point);
size_t code_point_length(std::string_view text);
// The byte where code point number `index` begins; text.size() when there are fewer.
size_t code_point_offset(std::string_view text, size_t index);
// The byte where the code point before `position` begins. REQUIRES: position > 0
size_t previous_code_point(std::string_view text, size_t position);

bool is_space(char32_t c);
bool is_line_end(char32_t c);
bool is_printable(char32_t c);
bool is_alphabetic(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_title(char32_t c);
inline bool is_cased(char32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }
// First and later characters of an identifier.
bool is_name_start(char32_t c);
bool is_name_part(char32_t c);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_title(std::string_view text);        // str.title()
std::string to_capitalized(std::string_view text);  // str.capitalize()
std::string to_swapped_case(std::string_view text);
std::string to_case_folded(std::string_view text);

// The part without leading and trailing code points of `chars` (white space when null).
std::string_view strip(std::string_view text, const std::string_view* chars, bool left, bool right);

}  // namespace ferry::text::jinja
