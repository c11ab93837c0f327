// See jinja_lexer.h.
#include "text/jinja_lexer.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "base/quote_name.h"
#include "text/jinja_unicode.h"

namespace ferry::text::jinja {
namespace {

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

int hex_digit(char c) {
  if (is_ascii_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// One kind of newline, and the one at the very end dropped.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(TokenizedTemplate* out) : out_(*out), source_(out->source) {}

  void run() {
    while (at_ < source_.size()) lex_data();
    add(TokenType::kEnd, {});
  }

 private:
  bool looking_at(std::string_view text) const { return source_.substr(at_, text.size()) == text; }
  char peek(size_t offset = 0) const {
    return at_ + offset < source_.size() ? source_[at_ + offset] : '\0';
  }
  void add(TokenType type, std::string_view text) {
    Token token;
    token.type = type;
    token.line = line_;
    token.text = text;
    out_.tokens.push_back(token);
  }
  // Moves to `end`, counting lines, and remembers whether the next token begins a line.
  void advance_to(size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<int64_t>(at_),
                                         source_.begin() + static_cast<int64_t>(end), '\n'));
    if (end > at_) line_starting_ = source_[end - 1] == '\n';
    at_ = end;
  }
  size_t skip_space(size_t from) const {
    while (from < source_.size()) {
      size_t next = from;
      if (!is_space(next_code_point(source_, next))) break;
      from = next;
    }
    return from;
  }

  void lex_data();
  std::string_view trim_before_tag(std::string_view text, char sign, bool is_variable) const;
  bool lex_raw(size_t tag);
  void lex_comment();
  void lex_tag(TokenType begin, TokenType end_type, std::string_view end, bool trim_newline);
  bool lex_tag_end(TokenType type, std::string_view end, bool trim_newline);
  void lex_token();
  void lex_string();
  std::string unescape(std::string_view body) const;
  size_t unescape_hex(std::string_view body, size_t at, size_t digits, std::string* text) const;
  void lex_number();
  size_t digits_end(size_t from) const;
  void lex_integer();
  void lex_name();
  void lex_operator();

  TokenizedTemplate& out_;
  std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::string open_brackets_;  // the closing ones expected, innermost last
};

// Text up to the next tag, and that tag.
void Lexer::lex_data() {
  size_t tag = at_;
  for (;; ++tag) {
    tag = source_.find('{', tag);
    if (tag == std::string_view::npos || tag + 1 >= source_.size()) {
      add(TokenType::kData, source_.substr(at_));
      advance_to(source_.size());
      return;
    }
    const char second = source_[tag + 1];
    if (second == '{' || second == '%' || second == '#') break;
  }
  const char second = source_[tag + 1];
  const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
  const std::string_view text = source_.substr(at_, tag - at_);
  const std::string_view kept = trim_before_tag(text, sign, second == '{');
  if (!kept.empty()) add(TokenType::kData, kept);
  if (second == '%' && lex_raw(tag)) return;
  advance_to(tag + (sign == '-' || sign == '+' ? 3 : 2));
  if (second == '#') return lex_comment();
  if (second == '{') {
    return lex_tag(TokenType::kVariableBegin, TokenType::kVariableEnd, "}}", false);
  }
  lex_tag(TokenType::kBlockBegin, TokenType::kBlockEnd, "%}", true);
}

std::string_view Lexer::trim_before_tag(std::string_view text, char sign, bool is_variable) const {
  if (sign == '-') return strip(text, nullptr, false, true);
  if (sign == '+' || is_variable) return text;
  const size_t newline = text.rfind('\n');
  const size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
  if (begin == 0 && !line_starting_) return text;
  return strip(text.substr(begin), nullptr, true, false).empty() ? text.substr(0, begin) : text;
}

// {% raw %}: everything up to {% endraw %} is data. False when the tag at `tag` is another one.
bool Lexer::lex_raw(size_t tag) {
  const auto after_word = [&](size_t from, std::string_view word) -> size_t {
    if (from < source_.size() && (source_[from] == '-' || source_[from] == '+')) ++from;
    from = skip_space(from);
    if (source_.substr(from, word.size()) != word) return 0;
    return skip_space(from + word.size());
  };
  size_t end = after_word(tag + 2, "raw");
  if (end == 0) return false;
  if (source_.substr(end, 3) == "-%}") {
    end = skip_space(end + 3);
  } else if (source_.substr(end, 2) == "%}") {
    end += 2;
  } else {
    return false;
  }
  const int begin_line = line_;
  advance_to(end);
  for (size_t close = at_;; ++close) {
    close = source_.find("{%", close);
    if (close == std::string_view::npos) fail_at(begin_line, "missing end of raw block");
    size_t after = after_word(close + 2, "endraw");
    if (after == 0) continue;
    const bool strips = source_.substr(after, 3) == "-%}";
    const bool keeps = source_.substr(after, 3) == "+%}";
    if (strips || keeps) ++after;
    if (source_.substr(after, 2) != "%}") continue;
    after += 2;
    if (strips) after = skip_space(after);
    if (!strips && !keeps && after < source_.size() && source_[after] == '\n') ++after;
    const std::string_view text = source_.substr(at_, close - at_);
    const std::string_view kept = trim_before_tag(text, source_[close + 2], false);
    if (!kept.empty()) add(TokenType::kData, kept);
    advance_to(after);
    return true;
  }
}

void Lexer::lex_comment() {
  const size_t end = source_.find("#}", at_);
  if (end == std::string_view::npos) fail_at(line_, "missing end of comment");
  const char sign = end > at_ ? source_[end - 1] : '\0';
  size_t after = end + 2;
  if (sign == '-') {
    after = skip_space(after);
  } else if (sign != '+' && after < source_.size() && source_[after] == '\n') {
    ++after;
  }
  advance_to(after);
}

void Lexer::lex_tag(TokenType begin, TokenType end_type, std::string_view end, bool trim_newline) {
  const int begin_line = line_;
  add(begin, {});
  open_brackets_.clear();
  while (at_ < source_.size()) {
    if (open_brackets_.empty() && lex_tag_end(end_type, end, trim_newline)) return;
    const size_t after_space = skip_space(at_);
    if (after_space > at_) {
      advance_to(after_space);
    } else {
      lex_token();
    }
  }
  fail_at(begin_line, "the tag that begins here does not end");
}

bool Lexer::lex_tag_end(TokenType type, std::string_view end, bool trim_newline) {
  const char sign = peek();
  const bool signed_end =
      (sign == '-' || (sign == '+' && trim_newline)) && source_.substr(at_ + 1, 2) == end;
  if (!signed_end && !looking_at(end)) return false;
  add(type, {});
  size_t after = at_ + (signed_end ? 3 : 2);
  if (signed_end && sign == '-') {
    after = skip_space(after);
  } else if (!signed_end && trim_newline && after < source_.size() && source_[after] == '\n') {
    ++after;
  }
  advance_to(after);
  return true;
}

void Lexer::lex_token() {
  const char c = peek();
  if (is_ascii_digit(c)) return lex_number();
  if (c == '\'' || c == '"') return lex_string();
  size_t next = at_;
  if (is_name_part(next_code_point(source_, next))) return lex_name();
  lex_operator();
}

void Lexer::lex_string() {
  const char quote = peek();
  size_t end = at_ + 1;
  while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
  if (end >= source_.size()) fail_at(line_, "unexpected char '{}'", quote);
  const std::string_view body = source_.substr(at_ + 1, end - at_ - 1);
  if (body.find('\\') == std::string_view::npos) {
    add(TokenType::kString, body);
  } else {
    out_.strings.push_back(unescape(body));
    add(TokenType::kString, out_.strings.back());
  }
  advance_to(end + 1);
}

size_t Lexer::unescape_hex(std::string_view body, size_t at, size_t digits,
                           std::string* text) const {
  char32_t code = 0;
  for (size_t i = 0; i < digits; ++i) {
    const int digit = at + i < body.size() ? hex_digit(body[at + i]) : -1;
    if (digit < 0) fail_at(line_, "truncated escape in a string");
    code = code * 16 + static_cast<char32_t>(digit);
  }
  if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
    fail_at(line_, "escape U+{:04X} in a string is not a character", static_cast<uint32_t>(code));
  }
  append_code_point(*text, code);
  return at + digits;
}

// Python's string escapes.
std::string Lexer::unescape(std::string_view body) const {
  constexpr std::string_view kLetters = "\\'\"abfnrtv";
  constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
  std::string text;
  for (size_t i = 0; i < body.size();) {
    if (body[i] != '\\' || i + 1 >= body.size()) {
      text += body[i++];
      continue;
    }
    const char c = body[i + 1];
    i += 2;
    if (const size_t known = kLetters.find(c); known != std::string_view::npos) {
      text += kMeanings[known];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      i = unescape_hex(body, i, c == 'x' ? 2 : c == 'u' ? 4 : 8, &text);
    } else if (c >= '0' && c <= '7') {
      char32_t code = 0;
      --i;
      for (int n = 0; n < 3 && i < body.size() && body[i] >= '0' && body[i] <= '7'; ++n) {
        code = code * 8 + static_cast<char32_t>(body[i++] - '0');
      }
      append_code_point(text, code);
    } else if (c == 'N') {
      fail_at(line_, "\\N{{...}} escapes in strings are not supported");
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      // jinja2 writes such a character as an escape first, whose backslash the given one quotes.
      size_t end = i - 1;
      const auto code = static_cast<uint32_t>(next_code_point(body, end));
      text += code < 0x100     ? fmt::format("\\x{:02x}", code)
              : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                               : fmt::format("\\U{:08x}", code);
      i = end;
    } else if (c != '\n') {
      text += '\\';
      text += c;
    }
  }
  return text;
}

// The end of digits in which single underscores separate groups.
size_t Lexer::digits_end(size_t from) const {
  const auto digit_at = [&](size_t i) { return i < source_.size() && is_ascii_digit(source_[i]); };
  while (digit_at(from) || (from < source_.size() && source_[from] == '_' && digit_at(from + 1))) {
    ++from;
  }
  return from;
}

void Lexer::lex_number() {
  const auto digit_at = [&](size_t i) { return i < source_.size() && is_ascii_digit(source_[i]); };
  if (at_ > 0 && source_[at_ - 1] == '.') return lex_integer();
  const size_t whole = digits_end(at_);
  size_t end = whole;
  if (end < source_.size() && source_[end] == '.' && digit_at(end + 1)) end = digits_end(end + 1);
  if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
    size_t exponent = end + 1;
    if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) {
      ++exponent;
    }
    if (digit_at(exponent)) end = digits_end(exponent);
  }
  if (end == whole) return lex_integer();
  std::string digits(source_.substr(at_, end - at_));
  digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
  add(TokenType::kFloat, source_.substr(at_, end - at_));
  out_.tokens.back().real = std::strtod(digits.c_str(), nullptr);
  advance_to(end);
}

void Lexer::lex_integer() {
  int base = 10;
  size_t at = at_;
  const char prefix = static_cast<char>(peek() == '0' ? (peek(1) | 0x20) : 0);
  if (prefix == 'x' || prefix == 'o' || prefix == 'b') {
    const int wanted = prefix == 'x' ? 16 : prefix == 'o' ? 8 : 2;
    const size_t first = peek(2) == '_' ? 3 : 2;
    const int digit = hex_digit(peek(first));
    if (digit >= 0 && digit < wanted) {
      base = wanted;
      at = at_ + 2;
    }
  }
  const bool zeros_only = base == 10 && peek() == '0';
  Int value = 0;
  size_t end = at;
  for (; end < source_.size(); ++end) {
    if (source_[end] == '_') {
      const int after = end + 1 < source_.size() ? hex_digit(source_[end + 1]) : -1;
      if (after < 0 || after >= base || (zeros_only && after != 0)) break;
      continue;
    }
    const int digit = hex_digit(source_[end]);
    if (digit < 0 || digit >= base || (zeros_only && digit != 0)) break;
    if (__builtin_mul_overflow(value, static_cast<Int>(base), &value) ||
        __builtin_add_overflow(value, static_cast<Int>(digit), &value)) {
      fail_at(line_, "an integer of more than 127 bits");
    }
  }
  add(TokenType::kInteger, source_.substr(at_, end - at_));
  out_.tokens.back().integer = value;
  advance_to(end);
}

void Lexer::lex_name() {
  size_t end = at_;
  size_t first_end = at_;
  const bool starts_well = is_name_start(next_code_point(source_, first_end));
  while (end < source_.size()) {
    size_t next = end;
    if (!is_name_part(next_code_point(source_, next))) break;
    end = next;
  }
  const std::string_view name = source_.substr(at_, end - at_);
  if (!starts_well) fail_at(line_, "invalid character in identifier '{}'", name);
  add(TokenType::kName, name);
  advance_to(end);
}

void Lexer::lex_operator() {
  constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
  constexpr std::string_view kOne = "+-/*%~[](){}><=.:|,;";
  const std::string_view two = source_.substr(at_, 2);
  size_t size = std::find(std::begin(kTwo), std::end(kTwo), two) != std::end(kTwo) ? 2 : 1;
  if (size == 1 && kOne.find(peek()) == std::string_view::npos) {
    size_t end = at_;
    next_code_point(source_, end);
    fail_at(line_, "unexpected char '{}'", source_.substr(at_, end - at_));
  }
  const char c = peek();
  if (c == '(') open_brackets_ += ')';
  if (c == '[') open_brackets_ += ']';
  if (c == '{') open_brackets_ += '}';
  if (c == ')' || c == ']' || c == '}') {
    if (open_brackets_.empty()) fail_at(line_, "unexpected '{}'", c);
    if (open_brackets_.back() != c) {
      fail_at(line_, "unexpected '{}', expected '{}'", c, open_brackets_.back());
    }
    open_brackets_.pop_back();
  }
  add(TokenType::kOperator, source_.substr(at_, size));
  advance_to(at_ + size);
}

}  // namespace

void tokenize(std::string_view source, TokenizedTemplate* out) {
  if (!is_utf8(source)) fail_at(1, "the template is not valid UTF-8");
  out->source = normalize_newlines(source);
  Lexer(out).run();
}

}  // namespace ferry::text::jinja
