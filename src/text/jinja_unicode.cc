// See jinja_unicode.h. Categories and one-to-one case mappings come from utf8proc; the letters
// whose mapping is longer are in jinja_special_cases.h.
#include "text/jinja_unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "text/jinja_special_cases.h"

namespace ferry::text::jinja {
namespace {

struct CodeRange {
  char32_t first, last;
};

// Other_Lowercase and Other_Uppercase: letter case without being a cased letter.
constexpr CodeRange kOtherLower[] = {
    {0xAA, 0xAA},       {0xBA, 0xBA},       {0x2B0, 0x2B8},     {0x2C0, 0x2C1},    {0x2E0, 0x2E4},
    {0x345, 0x345},     {0x37A, 0x37A},     {0x1D2C, 0x1D6A},   {0x1D78, 0x1D78},  {0x1D9B, 0x1DBF},
    {0x2071, 0x2071},   {0x207F, 0x207F},   {0x2090, 0x209C},   {0x2170, 0x217F},  {0x24D0, 0x24E9},
    {0x2C7C, 0x2C7D},   {0xA69C, 0xA69D},   {0xA770, 0xA770},   {0xA7F8, 0xA7F9},  {0xAB5C, 0xAB5F},
    {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA}};
constexpr CodeRange kOtherUpper[] = {
    {0x2160, 0x216F}, {0x24B6, 0x24CF}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};

template <size_t N>
bool in_spans(const CodeRange (&spans)[N], char32_t c) {
  return std::any_of(std::begin(spans), std::end(spans),
                     [c](const CodeRange& span) { return c >= span.first && c <= span.last; });
}

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

const SpecialCase* special_case(char32_t c) {
  if (c < 0x80) return nullptr;
  const auto* it = std::lower_bound(std::begin(kSpecialCases), std::end(kSpecialCases), c,
                                    [](const SpecialCase& s, char32_t x) { return s.letter < x; });
  return it != std::end(kSpecialCases) && it->letter == c ? it : nullptr;
}

void append_special(std::string& out, const char32_t (&letters)[3]) {
  for (char32_t letter : letters) {
    if (letter != 0) append_code_point(out, letter);
  }
}

void append_upper(std::string& out, char32_t c) {
  if (const SpecialCase* special = special_case(c)) return append_special(out, special->upper);
  append_code_point(out, static_cast<char32_t>(utf8proc_toupper(static_cast<int>(c))));
}

void append_title(std::string& out, char32_t c) {
  if (const SpecialCase* special = special_case(c)) return append_special(out, special->title);
  append_code_point(out, static_cast<char32_t>(utf8proc_totitle(static_cast<int>(c))));
}

// Skipped when looking for the letters around a sigma.
bool is_case_ignorable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: break;
  }
  constexpr char32_t kMidLetter[] = {'\'',   '.',    ':',    0xB7,   0x387,  0x55F,
                                     0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                     0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
  return std::find(std::begin(kMidLetter), std::end(kMidLetter), c) != std::end(kMidLetter);
}

// A sigma at the end of a word has its own small letter. `begin`, `end`: the sigma's bytes.
bool is_final_sigma(std::string_view text, size_t begin, size_t end) {
  bool preceded = false;
  for (size_t at = begin; at > 0 && !preceded;) {
    at = previous_code_point(text, at);
    size_t position = at;
    const char32_t c = next_code_point(text, position);
    if (is_case_ignorable(c)) continue;
    preceded = is_cased(c);
    break;
  }
  if (!preceded) return false;
  while (end < text.size()) {
    const char32_t c = next_code_point(text, end);
    if (is_case_ignorable(c)) continue;
    return !is_cased(c);
  }
  return true;
}

void append_lower(std::string& out, std::string_view text, size_t begin, size_t end, char32_t c) {
  if (c == 0x3A3) {
    append_code_point(out, is_final_sigma(text, begin, end) ? 0x3C2 : 0x3C3);
  } else if (c == 0x130) {
    append_code_point(out, 'i');
    append_code_point(out, 0x307);
  } else {
    append_code_point(out, static_cast<char32_t>(utf8proc_tolower(static_cast<int>(c))));
  }
}

template <typename Append>
std::string map_letters(std::string_view text, Append append) {
  std::string out;
  out.reserve(text.size());
  for (size_t position = 0; position < text.size();) {
    const size_t begin = position;
    const char32_t c = next_code_point(text, position);
    append(out, c, begin, position);
  }
  return out;
}

}  // namespace

char32_t next_code_point(std::string_view text, size_t& position) {
  const auto byte = [&](size_t i) -> char32_t {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const char32_t first = byte(position);
  if (first < 0x80) {
    ++position;
    return first;
  }
  const size_t count = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  char32_t c = first & (0xFF >> (count + 1));
  for (size_t i = 1; i < count; ++i) c = c << 6 | (byte(position + i) & 0x3F);
  position = std::min(position + count, text.size());
  return c;
}

void append_code_point(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  utf8proc_uint8_t bytes[4];
  const auto count = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
}

size_t code_point_length(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

size_t code_point_offset(std::string_view text, size_t index) {
  size_t position = 0;
  while (index > 0 && position < text.size()) {
    ++position;
    while (position < text.size() && (static_cast<unsigned char>(text[position]) & 0xC0) == 0x80) {
      ++position;
    }
    --index;
  }
  return position;
}

size_t previous_code_point(std::string_view text, size_t position) {
  --position;
  while (position > 0 && (static_cast<unsigned char>(text[position]) & 0xC0) == 0x80) --position;
  return position;
}

bool is_space(char32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_line_end(char32_t c) {
  return (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
  }
}

bool is_alphabetic(char32_t c) {
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

bool is_digit(char32_t c) {
  return is_decimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
         (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
         (c >= 0x2460 && c <= 0x2468) || (c >= 0x2474 && c <= 0x247C);
}

bool is_numeric(char32_t c) {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
         kind == UTF8PROC_CATEGORY_NO || c == 0x4E00 || c == 0x4E8C || c == 0x4E09 || c == 0x56DB ||
         c == 0x4E94 || c == 0x516D || c == 0x4E03 || c == 0x516B || c == 0x4E5D || c == 0x5341 ||
         c == 0x767E || c == 0x5343 || c == 0x842C || c == 0x4E07 || c == 0x96F6;
}

bool is_upper(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LU || in_spans(kOtherUpper, c);
}
bool is_lower(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LL || in_spans(kOtherLower, c);
}
bool is_title(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }

bool is_name_start(char32_t c) {
  return c == '_' || is_alphabetic(c) || category(c) == UTF8PROC_CATEGORY_NL;
}
bool is_name_part(char32_t c) {
  const auto kind = category(c);
  return is_name_start(c) || kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_MN ||
         kind == UTF8PROC_CATEGORY_MC || kind == UTF8PROC_CATEGORY_PC;
}

std::string to_upper(std::string_view text) {
  return map_letters(text,
                     [](std::string& out, char32_t c, size_t, size_t) { append_upper(out, c); });
}

std::string to_lower(std::string_view text) {
  return map_letters(text, [text](std::string& out, char32_t c, size_t begin, size_t end) {
    append_lower(out, text, begin, end, c);
  });
}

std::string to_title(std::string_view text) {
  bool in_word = false;
  return map_letters(text, [&](std::string& out, char32_t c, size_t begin, size_t end) {
    in_word ? append_lower(out, text, begin, end, c) : append_title(out, c);
    in_word = is_cased(c);
  });
}

std::string to_capitalized(std::string_view text) {
  return map_letters(text, [text](std::string& out, char32_t c, size_t begin, size_t end) {
    begin == 0 ? append_title(out, c) : append_lower(out, text, begin, end, c);
  });
}

std::string to_swapped_case(std::string_view text) {
  return map_letters(text, [text](std::string& out, char32_t c, size_t begin, size_t end) {
    if (is_upper(c)) return append_lower(out, text, begin, end, c);
    is_lower(c) ? append_upper(out, c) : append_code_point(out, c);
  });
}

std::string to_case_folded(std::string_view text) {
  std::string out;
  for (size_t position = 0; position < text.size();) {
    const char32_t c = next_code_point(text, position);
    utf8proc_int32_t folded[8];
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded, 8,
                                               UTF8PROC_CASEFOLD, &boundary);
    for (utf8proc_ssize_t i = 0; i < std::min<utf8proc_ssize_t>(count, 8); ++i) {
      append_code_point(out, static_cast<char32_t>(folded[i]));
    }
  }
  return out;
}

std::string_view strip(std::string_view text, const std::string_view* chars, bool left,
                       bool right) {
  const auto strips = [chars](char32_t c) {
    if (chars == nullptr) return is_space(c);
    for (size_t i = 0; i < chars->size();) {
      if (next_code_point(*chars, i) == c) return true;
    }
    return false;
  };
  while (left && !text.empty()) {
    size_t position = 0;
    if (!strips(next_code_point(text, position))) break;
    text.remove_prefix(position);
  }
  while (right && !text.empty()) {
    const size_t begin = previous_code_point(text, text.size());
    size_t position = begin;
    if (!strips(next_code_point(text, position))) break;
    text = text.substr(0, begin);
  }
  return text;
}

}  // namespace ferry::text::jinja
