// See char_set.h.
#include "grammar/char_set.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

namespace ferry::grammar {
namespace {

constexpr char32_t kLargest = 0x10FFFF;
constexpr char32_t kSurrogates = 0xD800, kLastSurrogate = 0xDFFF;

int utf8_length(char32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

void encode(char32_t c, int length, uint8_t* bytes) {
  static constexpr uint8_t kLead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  for (int i = length - 1; i > 0; --i) {
    bytes[i] = static_cast<uint8_t>(0x80 | (c & 0x3F));
    c >>= 6;
  }
  bytes[0] = static_cast<uint8_t>(kLead[length] | c);
}

// Splits first–last until all bytes behind the first one that differs run through their full range.
void add_sequences(char32_t first, char32_t last, std::vector<ByteSequence>& out) {
  static constexpr char32_t kLengthEnds[] = {0x7F, 0x7FF, 0xFFFF};
  for (char32_t end : kLengthEnds) {
    if (first <= end && end < last) {
      add_sequences(first, end, out);
      add_sequences(end + 1, last, out);
      return;
    }
  }
  const int length = utf8_length(first);
  for (int tail = 1; tail < length; ++tail) {
    const char32_t mask = (char32_t{1} << (6 * tail)) - 1;
    if ((first & ~mask) == (last & ~mask)) continue;
    if ((first & mask) != 0) {
      add_sequences(first, first | mask, out);
      add_sequences((first | mask) + 1, last, out);
      return;
    }
    if ((last & mask) != mask) {
      add_sequences(first, (last & ~mask) - 1, out);
      add_sequences(last & ~mask, last, out);
      return;
    }
  }
  uint8_t low[4], high[4];
  encode(first, length, low);
  encode(last, length, high);
  ByteSequence sequence{.bytes = {}, .length = length};
  for (int i = 0; i < length; ++i) sequence.bytes[i] = {low[i], high[i]};
  out.push_back(sequence);
}

// "Lu" and so on of every code point as ranges, found once: a walk over the whole of Unicode.
using Categories = std::array<std::vector<CharRange>, 30>;

const Categories& categories() {
  static const Categories table = [] {
    Categories found;
    for (char32_t c = 0; c <= kLargest; ++c) {
      auto& ranges = found[utf8proc_category(static_cast<utf8proc_int32_t>(c))];
      if (!ranges.empty() && ranges.back().last + 1 == c) {
        ranges.back().last = c;
      } else {
        ranges.push_back({c, c});
      }
    }
    return found;
  }();
  return table;
}

}  // namespace

CharSet make_set(std::vector<CharRange> ranges) {
  std::vector<CharRange> parts;
  for (const CharRange& range : ranges) {
    if (range.first > range.last) continue;
    if (range.last < kSurrogates || range.first > kLastSurrogate) {
      parts.push_back(range);
      continue;
    }
    if (range.first < kSurrogates) parts.push_back({range.first, kSurrogates - 1});
    if (range.last > kLastSurrogate) parts.push_back({kLastSurrogate + 1, range.last});
  }
  std::sort(parts.begin(), parts.end(),
            [](const CharRange& a, const CharRange& b) { return a.first < b.first; });
  CharSet set;
  for (const CharRange& part : parts) {
    if (!set.empty() && part.first <= set.back().last + 1) {
      set.back().last = std::max(set.back().last, part.last);
    } else {
      set.push_back(part);
    }
  }
  return set;
}

CharSet complement(const CharSet& set) {
  std::vector<CharRange> out;
  char32_t next = 0;
  for (const CharRange& range : set) {
    if (range.first > next) out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLargest) out.push_back({next, kLargest});
  return make_set(std::move(out));
}

CharSet unite(const CharSet& a, const CharSet& b) {
  std::vector<CharRange> both = a;
  both.insert(both.end(), b.begin(), b.end());
  return make_set(std::move(both));
}

CharSet intersect(const CharSet& a, const CharSet& b) {
  return complement(unite(complement(a), complement(b)));
}

bool contains(const CharSet& set, char32_t c) {
  return std::any_of(set.begin(), set.end(),
                     [c](const CharRange& range) { return range.first <= c && c <= range.last; });
}

CharSet all_chars() { return make_set({{0, kLargest}}); }
CharSet digit_chars() { return {{'0', '9'}}; }
CharSet word_chars() { return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; }
CharSet space_chars() {
  return {{9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}

std::optional<CharSet> category_chars(std::string_view name) {
  std::vector<CharRange> ranges;
  bool found = false;
  for (int category = 0; category < 30; ++category) {
    const auto& of_category = categories()[category];
    const std::string_view of =
        utf8proc_category_string(static_cast<utf8proc_int32_t>(of_category.front().first));
    if (name.empty() || name.size() > 2 || of.substr(0, name.size()) != name) continue;
    found = true;
    ranges.insert(ranges.end(), categories()[category].begin(), categories()[category].end());
  }
  if (!found) return std::nullopt;
  return make_set(std::move(ranges));
}

std::optional<char32_t> next_char(std::string_view text, size_t& at) {
  const auto lead = static_cast<uint8_t>(text[at]);
  const int length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (length == 0 || at + length > text.size()) return std::nullopt;
  char32_t c = length == 1 ? lead : lead & (0x7F >> length);
  for (int i = 1; i < length; ++i) {
    const auto byte = static_cast<uint8_t>(text[at + i]);
    if ((byte & 0xC0) != 0x80) return std::nullopt;
    c = (c << 6) | (byte & 0x3F);
  }
  if (c > kLargest || utf8_length(c) != length || (c >= kSurrogates && c <= kLastSurrogate)) {
    return std::nullopt;
  }
  at += length;
  return c;
}

std::vector<ByteSequence> utf8_sequences(const CharSet& set) {
  std::vector<ByteSequence> out;
  for (const CharRange& range : set) add_sequences(range.first, range.last, out);
  return out;
}

}  // namespace ferry::grammar
