// Sets of Unicode scalar values, and how a set is spelled as UTF-8 bytes: what character classes of
// regular expressions and the strings of JSON are made of.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace ferry::grammar {

struct CharRange {
  char32_t first, last;  // both inside
  friend bool operator==(const CharRange&, const CharRange&) = default;
};

// Ascending, disjoint, not adjacent; no surrogates.
using CharSet = std::vector<CharRange>;

// The set of what `ranges` cover, in any order and overlapping. Surrogates are left out.
CharSet make_set(std::vector<CharRange> ranges);
CharSet complement(const CharSet& set);
CharSet unite(const CharSet& a, const CharSet& b);
CharSet intersect(const CharSet& a, const CharSet& b);
bool contains(const CharSet& set, char32_t c);

CharSet all_chars();
CharSet digit_chars();  // \d: 0-9
CharSet word_chars();   // \w: A-Z a-z 0-9 _
CharSet space_chars();  // \s: White_Space and U+FEFF, as ECMAScript has it
// A Unicode general category: "L", "Lu", "Nd", … ; nullopt if there is none of that name.
std::optional<CharSet> category_chars(std::string_view name);

// The character at text[at], and `at` moved behind it; nullopt: no valid UTF-8 there.
// REQUIRES: at < text.size()
std::optional<char32_t> next_char(std::string_view text, size_t& at);

// One to four byte ranges, one after the other: all byte sequences with the first byte in the
// first range, the second in the second, …
struct ByteSequence {
  struct Range {
    uint8_t first, last;
  };
  Range bytes[4];
  int length;
};

// The UTF-8 spellings of a set, each exactly once.
std::vector<ByteSequence> utf8_sequences(const CharSet& set);

}  // namespace ferry::grammar
