// A recursive-descent parser, one function per level of the syntax.
#include "grammar/regex.h"

#include <optional>
#include <utility>

#include "base/quote_name.h"

namespace ferry::grammar {
namespace {

constexpr int kMaxNesting = 100;
constexpr int64_t kMaxCount = 1'000'000'000;
constexpr char32_t kEnd = 0xFFFFFFFF;

class Parser {
 public:
  Parser(std::vector<char32_t> text, RegexMatch match,
         const std::function<ExprRef(const CharSet&)>& spell)
      : text_(std::move(text)), match_(match), spell_(spell) {}

  Result<ExprRef> parse() {
    FERRY_TRY(ExprRef expr, parse_choice(0));
    if (at_ < text_.size()) return error("unmatched )");
    return expr;
  }

 private:
  char32_t peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : kEnd;
  }
  bool take(char32_t c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  Error error(std::string_view what) const {
    return invalid_input("regex: {} at character {}", what, at_);
  }
  Error refuse(std::string_view what) const {
    return unsupported("regex: {} at character {} can't be used for constrained output", what, at_);
  }

  Result<ExprRef> parse_choice(int depth) {
    if (depth > kMaxNesting) return error("groups nested too deeply");
    std::vector<ExprRef> branches;
    do {
      FERRY_TRY(branches.emplace_back(), parse_branch(depth));
    } while (take('|'));
    return branches.size() == 1 ? branches[0] : choice(std::move(branches));
  }

  Result<ExprRef> parse_branch(int depth) {
    const bool outermost = depth == 0;
    const bool search = outermost && match_ == RegexMatch::kSearch;
    std::vector<ExprRef> parts;
    const bool from_start = outermost && take('^');
    if (search && !from_start) parts.push_back(anything());
    bool to_end = false;
    while (peek() != kEnd && peek() != '|' && peek() != ')') {
      const char32_t after = peek(1);
      if (outermost && peek() == '$' && (after == kEnd || after == '|')) {
        ++at_;
        to_end = true;
        break;
      }
      FERRY_TRY(parts.emplace_back(), parse_quantified(depth));
    }
    if (search && !to_end) parts.push_back(anything());
    return parts.size() == 1 ? parts[0] : sequence(std::move(parts));
  }

  ExprRef anything() const { return repeat(spell_(all_chars()), 0, -1); }

  Result<ExprRef> parse_quantified(int depth) {
    FERRY_TRY(ExprRef expr, parse_atom(depth));
    int64_t min = 0;
    int64_t max = -1;
    FERRY_TRY(const bool repeated, parse_quantifier(min, max));
    if (!repeated) return expr;
    take('?');  // lazy
    if (peek() == '+') return refuse("a possessive quantifier");
    FERRY_TRY(const bool again, parse_quantifier(min, max));
    if (again) return error("a quantifier of a quantifier");
    return repeat(std::move(expr), min, max);
  }

  Result<bool> parse_quantifier(int64_t& min, int64_t& max) {
    if (peek() == '{') return parse_count(min, max);
    const char32_t c = peek();
    if (c != '*' && c != '+' && c != '?') return false;
    ++at_;
    min = c == '+' ? 1 : 0;
    max = c == '?' ? 1 : -1;
    return true;
  }

  // {n} {n,} {n,m}; false: the brace stands for itself, and nothing was taken.
  Result<bool> parse_count(int64_t& min, int64_t& max) {
    const size_t begin = at_++;
    const std::optional<int64_t> low = parse_number();
    std::optional<int64_t> high = low;
    if (low && take(',')) {
      high = parse_number();
      if (!high) high = -1;
    }
    if (!low || !take('}')) {
      at_ = begin;
      return false;
    }
    if (*high >= 0 && *high < *low) return error("a repeat whose end is below its start");
    min = *low;
    max = *high;
    return true;
  }

  std::optional<int64_t> parse_number() {
    if (peek() < '0' || peek() > '9') return std::nullopt;
    int64_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      value = std::min(kMaxCount, value * 10 + static_cast<int64_t>(peek() - '0'));
    }
    return value;
  }

  Result<ExprRef> parse_atom(int depth) {
    const char32_t c = peek();
    switch (c) {
      case '(': return parse_group(depth);
      case '[': return parse_class();
      case '\\': {
        FERRY_TRY(const CharSet set, parse_escape(false));
        return spell_(set);
      }
      case '*':
      case '+':
      case '?': return error("a quantifier without anything to repeat");
      case '^':
      case '$': return refuse("an anchor that is not at the end of the pattern");
      case '{': break;  // counts nothing, so it stands for itself
      case '.': ++at_; return spell_(complement({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
      default: break;
    }
    ++at_;
    return spell_({{c, c}});
  }

  Result<ExprRef> parse_group(int depth) {
    ++at_;
    if (take('?')) {
      if (take('<')) {
        if (peek() == '=' || peek() == '!') return refuse("look-behind");
        FERRY_TRY_VOID(skip_group_name());
      } else if (peek() == 'P' && peek(1) == '<') {
        at_ += 2;
        FERRY_TRY_VOID(skip_group_name());
      } else if (peek() == '=' || peek() == '!') {
        return refuse("look-ahead");
      } else if (!take(':')) {
        return refuse("a group with flags");
      }
    }
    FERRY_TRY(ExprRef expr, parse_choice(depth + 1));
    if (!take(')')) return error("a group without its end");
    return expr;
  }

  Status skip_group_name() {
    const size_t begin = at_;
    while (peek() != kEnd && contains(word_chars(), peek())) ++at_;
    if (at_ == begin || !take('>')) return error("a group with a bad name");
    return {};
  }

  Result<ExprRef> parse_class() {
    ++at_;
    const bool negated = take('^');
    CharSet set;
    while (!take(']')) {
      if (peek() == kEnd) return error("a class without its end");
      if (peek() == '[' && (peek(1) == ':' || peek(1) == '.' || peek(1) == '=')) {
        return refuse("a POSIX class");
      }
      FERRY_TRY(const CharSet first, parse_class_member());
      if (peek() != '-' || peek(1) == ']' || peek(1) == kEnd) {
        set = unite(set, first);
        continue;
      }
      ++at_;
      FERRY_TRY(const CharSet last, parse_class_member());
      const bool single = is_one(first) && is_one(last);
      if (!single || first[0].first > last[0].first) return error("a bad range in a class");
      set = unite(set, make_set({{first[0].first, last[0].first}}));
    }
    return spell_(negated ? complement(set) : set);
  }

  static bool is_one(const CharSet& set) { return set.size() == 1 && set[0].first == set[0].last; }

  Result<CharSet> parse_class_member() {
    if (peek() == '\\') return parse_escape(true);
    const char32_t c = peek();
    if (c == kEnd) return error("a class without its end");
    ++at_;
    return CharSet{{c, c}};
  }

  Result<CharSet> parse_escape(bool in_class) {
    ++at_;
    const char32_t c = peek();
    const auto one = [](char32_t of) { return CharSet{{of, of}}; };
    if (c == kEnd) return error("a backslash at the end");
    ++at_;
    switch (c) {
      case 'd': return digit_chars();
      case 'D': return complement(digit_chars());
      case 'w': return word_chars();
      case 'W': return complement(word_chars());
      case 's': return space_chars();
      case 'S': return complement(space_chars());
      case 't': return one('\t');
      case 'n': return one('\n');
      case 'r': return one('\r');
      case 'f': return one('\f');
      case 'v': return one('\v');
      case 'b':
        if (in_class) return one('\b');
        return refuse("\\b");
      case 'B': return refuse("\\B");
      case 'p':
      case 'P': return parse_category(c == 'P');
      case 'x': return parse_hex(2);
      case 'u': return parse_unicode();
      case 'c': {
        const char32_t letter = peek();
        if (!contains({{'A', 'Z'}, {'a', 'z'}}, letter)) return error("a bad \\c");
        ++at_;
        return one(letter % 32);
      }
      case '0':
        if (peek() >= '0' && peek() <= '9') return refuse("an octal escape");
        return one(0);
      default: break;
    }
    if (c >= '1' && c <= '9') return refuse("a back-reference");
    if (c == 'k') return refuse("a back-reference");
    if (contains({{'A', 'Z'}, {'a', 'z'}}, c)) {
      --at_;
      return error("an unknown escape");
    }
    return one(c);
  }

  Result<CharSet> parse_category(bool negated) {
    std::string name;
    if (!take('{')) return error("\\p without {name}");
    while (peek() != '}') {
      if (peek() >= 0x80 || name.size() > 40) return error("a bad name in \\p");
      name += static_cast<char>(peek());
      ++at_;
    }
    ++at_;
    std::optional<CharSet> set = category_chars(name);
    if (!set) return refuse(fmt::format("\\p{{{}}} (general categories only)", one_line(name)));
    return negated ? complement(*set) : *set;
  }

  Result<char32_t> parse_hex_digits(int min, int max) {
    char32_t value = 0;
    int count = 0;
    for (; count < max; ++count, ++at_) {
      const char32_t c = peek();
      if (c >= '0' && c <= '9') {
        value = value * 16 + (c - '0');
      } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
        value = value * 16 + ((c | 0x20) - 'a' + 10);
      } else {
        break;
      }
    }
    if (count < min) return error("too few hexadecimal digits");
    return value;
  }

  Result<CharSet> parse_hex(int digits) {
    FERRY_TRY(const char32_t value, parse_hex_digits(digits, digits));
    return CharSet{{value, value}};
  }

  // \uHHHH, a surrogate pair of two of these, or \u{H…}.
  Result<CharSet> parse_unicode() {
    char32_t value = 0;
    if (take('{')) {
      FERRY_TRY(value, parse_hex_digits(1, 6));
      if (!take('}')) return error("\\u{ without its end");
    } else {
      FERRY_TRY(value, parse_hex_digits(4, 4));
      if (value >= 0xD800 && value < 0xDC00 && peek() == '\\' && peek(1) == 'u') {
        at_ += 2;
        FERRY_TRY(const char32_t low, parse_hex_digits(4, 4));
        if (low < 0xDC00 || low > 0xDFFF) return error("half a surrogate pair");
        value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
      }
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
      return error("an escape that is no character");
    }
    return CharSet{{value, value}};
  }

  const std::vector<char32_t> text_;
  const RegexMatch match_;
  const std::function<ExprRef(const CharSet&)>& spell_;
  size_t at_ = 0;
};

}  // namespace

Result<ExprRef> parse_regex(std::string_view pattern, RegexMatch match,
                            const std::function<ExprRef(const CharSet&)>& spell) {
  std::vector<char32_t> text;
  for (size_t at = 0; at < pattern.size();) {
    const std::optional<char32_t> c = next_char(pattern, at);
    if (!c) return invalid_input("regex: byte {} is no valid UTF-8", at);
    text.push_back(*c);
  }
  return Parser(std::move(text), match, spell).parse();
}

}  // namespace ferry::grammar
