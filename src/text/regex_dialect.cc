// See regex_dialect.h. One pass over the pattern: a translator with a stack of open groups, and a
// class parser that recurses into nested classes up to a fixed depth.
#include "text/regex_dialect.h"

#include <optional>
#include <vector>

#include "base/quote_name.h"
#include "text/regex_properties.h"
#include "text/utf8.h"

namespace ferry::text {
namespace {

constexpr size_t kMaxPatternBytes = 64 << 10;
constexpr size_t kMaxGroupDepth = 100;
constexpr int kMaxClassDepth = 8;

bool is_class_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool is_ascii_alnum(char32_t c) {
  return is_class_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
std::optional<int> hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

std::string literal(char32_t c) {
  std::string out;
  if (is_ascii_alnum(c) || (c >= 0xA1 && !is_white_space(c))) {
    append_utf8(c, out);
    return out;
  }
  return fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(c));
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  Result<std::string> run() {
    while (at_ < in_.size()) FERRY_TRY_VOID(item());
    if (!groups_.empty()) return error("\")\" is missing");
    out_.append(top_closers_, ')');
    return std::move(out_);
  }

 private:
  enum class Before { kNothing, kAtom, kQuantifier };

  Error error(std::string_view what) const {
    return invalid_input("regex at byte {}: {}", at_, what);
  }
  Error refuse(std::string_view what) const {
    return unsupported("regex at byte {}: {} is not supported", at_, what);
  }
  bool next_is(std::string_view text) const { return in_.substr(at_, text.size()) == text; }
  char32_t take() {
    const Utf8Step step = utf8_step(in_, at_);
    at_ += step.length;
    return step.code_point;
  }
  void atom(std::string_view text) {
    out_ += text;
    before_ = Before::kAtom;
  }

  Status item() {
    switch (in_[at_]) {
      case '\\': return escape();
      case '[': {
        ++at_;
        FERRY_TRY(ClassText parsed, character_class(1));
        atom(parsed.expression());
        return {};
      }
      case '(': return open_group();
      case ')': return close_group();
      case '|':
        ++at_;
        out_ += '|';
        before_ = Before::kNothing;
        return {};
      case '.':
      case '^':
      case '$': atom(in_.substr(at_++, 1)); return {};
      case '*':
      case '+':
      case '?': return quantifier();
      case '{': return interval();
      default: atom(literal(take())); return {};
    }
  }

  Status quantifier() {
    if (before_ == Before::kNothing) return error("a quantifier follows nothing");
    if (before_ == Before::kQuantifier) return refuse("a quantifier on a quantifier");
    out_ += in_[at_++];
    if (at_ < in_.size() && (in_[at_] == '?' || in_[at_] == '+')) out_ += in_[at_++];
    before_ = Before::kQuantifier;
    return {};
  }

  // {n} {n,} {n,m} {,m}; any other brace is an ordinary character.
  Status interval() {
    size_t end = at_ + 1;
    std::string bounds[2];
    int part = 0;
    for (; end < in_.size() && in_[end] != '}'; ++end) {
      if (in_[end] == ',' && part == 0) {
        part = 1;
      } else if (is_class_digit(in_[end]) && bounds[part].size() < 6) {
        bounds[part] += in_[end];
      } else {
        break;
      }
    }
    const bool is_interval =
        end < in_.size() && in_[end] == '}' && !(bounds[0].empty() && bounds[1].empty());
    if (!is_interval) {
      atom(literal(take()));
      return {};
    }
    if (before_ == Before::kNothing) return error("a quantifier follows nothing");
    if (before_ == Before::kQuantifier) return refuse("a quantifier on a quantifier");
    out_ +=
        fmt::format("{{{}{}{}}}", bounds[0].empty() ? "0" : bounds[0], part ? "," : "", bounds[1]);
    at_ = end + 1;
    before_ = Before::kQuantifier;
    if (part == 1 && next_is("?")) {
      out_ += '?';
      ++at_;
    }
    return {};
  }

  Status open_group() {
    if (groups_.size() >= kMaxGroupDepth) return error("groups nested too deep");
    for (std::string_view opening : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"}) {
      if (!next_is(opening)) continue;
      at_ += opening.size();
      return push_group(opening);
    }
    if (!next_is("(?")) {
      ++at_;
      return push_group("(?:");  // no back-reference can name it
    }
    size_t end = at_ + 2;
    std::string options;
    for (; end < in_.size() && in_[end] != ':' && in_[end] != ')'; ++end) {
      if (in_[end] == 'i' || in_[end] == '-') {
        options += in_[end];
      } else if (in_[end] == 'm') {
        options += 's';
      } else {
        return refuse("the group " + quote_name(in_.substr(at_, end + 1 - at_)));
      }
    }
    if (end == in_.size() || options.empty()) return error("an incomplete group");
    const bool to_end_of_group = in_[end] == ')';
    at_ = end + 1;
    if (!to_end_of_group) return push_group(fmt::format("(?{}:", options));
    out_ += fmt::format("(?{}:", options);
    ++(groups_.empty() ? top_closers_ : groups_.back());
    if (top_closers_ + groups_.size() > kMaxGroupDepth) return error("groups nested too deep");
    before_ = Before::kNothing;
    return {};
  }

  Status push_group(std::string_view opening) {
    out_ += opening;
    groups_.push_back(0);
    before_ = Before::kNothing;
    return {};
  }

  Status close_group() {
    if (groups_.empty()) return error("\")\" without \"(\"");
    ++at_;
    out_.append(groups_.back() + 1, ')');
    groups_.pop_back();
    before_ = Before::kAtom;
    return {};
  }

  Status escape() {
    if (at_ + 1 >= in_.size()) return error("a backslash at the end");
    const std::string word =
        fmt::format("[{}\\x{{b2}}\\x{{b3}}\\x{{b9}}\\x{{bc}}-\\x{{be}}]", kWordItems);
    switch (in_[at_ + 1]) {
      case 'A':
      case 'z':
      case 'Z': atom(in_.substr(at_, 2)); break;
      case 'd': atom("\\p{Nd}"); break;
      case 'D': atom("\\P{Nd}"); break;
      case 's': atom(fmt::format("[{}]", kSpaceItems)); break;
      case 'S': atom(fmt::format("[^{}]", kSpaceItems)); break;
      case 'h': atom("[0-9A-Fa-f]"); break;
      case 'H': atom("[^0-9A-Fa-f]"); break;
      case 'w': atom(word); break;
      case 'W': atom("[^" + word.substr(1)); break;
      case 'b': atom(fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word)); break;
      case 'B': atom(fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word)); break;
      case 'p':
      case 'P': {
        FERRY_TRY(std::string items, property());
        atom(fmt::format("[{}]", items));
        return {};
      }
      default: {
        FERRY_TRY(char32_t c, escaped_character());
        atom(literal(c));
        return {};
      }
    }
    at_ += 2;
    return {};
  }

  // \p{Name}, \P{Name}, \p{^Name} at at_.
  Result<std::string> property() {
    const size_t end = in_.find('}', at_);
    if (at_ + 2 >= in_.size() || in_[at_ + 2] != '{' || end == std::string_view::npos) {
      return refuse(fmt::format("\"{}\" without braces", in_.substr(at_, 2)));
    }
    bool negated = in_[at_ + 1] == 'P';
    std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.remove_prefix(1);
    }
    auto items = property_items(name, negated);
    if (!items.ok()) return items.error().in(fmt::format("at byte {}", at_));
    at_ = end + 1;
    return items;
  }

  // An escape that stands for one character, in a class or outside.
  Result<char32_t> escaped_character() {
    const char c = in_[at_ + 1];
    switch (c) {
      case 'n': at_ += 2; return U'\n';
      case 'r': at_ += 2; return U'\r';
      case 't': at_ += 2; return U'\t';
      case 'f': at_ += 2; return U'\f';
      case 'v': at_ += 2; return U'\v';
      case 'a': at_ += 2; return U'\a';
      case 'e': at_ += 2; return char32_t{0x1B};
      case 'x': return hex_escape(2);
      case 'u': return hex_escape(4);
      default: break;
    }
    if (is_ascii_alnum(c)) return refuse(fmt::format("\"{}\"", in_.substr(at_, 2)));
    ++at_;
    return take();
  }

  // \xHH, \x{H...} or \uHHHH.
  Result<char32_t> hex_escape(size_t num_digits) {
    const bool braces = num_digits == 2 && in_.substr(at_ + 2, 1) == "{";
    const size_t begin = at_ + (braces ? 3 : 2);
    const size_t end = braces ? in_.find('}', begin) : begin + num_digits;
    if (end == std::string_view::npos || end > in_.size() || end == begin || end - begin > 8) {
      return error("an incomplete hexadecimal escape");
    }
    uint64_t value = 0;
    for (size_t i = begin; i < end; ++i) {
      const auto digit = hex_value(in_[i]);
      if (!digit) return error("an incomplete hexadecimal escape");
      value = value * 16 + *digit;
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
      return error("an escape that is no Unicode character");
    }
    at_ = end + (braces ? 1 : 0);
    return static_cast<char32_t>(value);
  }

  // One operand of an intersection: what fits into a PCRE2 class, and what only an alternative can
  // say. A class of one operand without alternatives stays a plain class.
  struct Operand {
    std::string items;
    std::vector<std::string> alternatives;

    bool empty() const { return items.empty() && alternatives.empty(); }
    std::string expression() const {
      if (alternatives.empty()) return fmt::format("[{}]", items);
      const std::string joined = fmt::format("{}", fmt::join(alternatives, "|"));
      return items.empty() ? fmt::format("(?:{})", joined)
                           : fmt::format("(?:[{}]|{})", items, joined);
    }
  };
  struct ClassText {
    bool negated = false;
    std::vector<Operand> operands;

    bool is_plain() const { return operands.size() == 1 && operands[0].alternatives.empty(); }
    std::string expression() const {
      if (is_plain()) return fmt::format("[{}{}]", negated ? "^" : "", operands[0].items);
      std::string all;
      for (size_t i = 0; i + 1 < operands.size(); ++i) {
        all += fmt::format("(?={})", operands[i].expression());
      }
      all += operands.back().expression();
      return negated ? fmt::format("(?:(?!{})(?s:.))", all) : fmt::format("(?:{})", all);
    }
  };

  // After the opening bracket.
  Result<ClassText> character_class(int depth) {
    if (depth > kMaxClassDepth) return error("character classes nested too deep");
    ClassText parsed;
    if (next_is("^")) {
      parsed.negated = true;
      ++at_;
    }
    Operand operand;
    bool first = true;
    for (; at_ < in_.size(); first = false) {
      if (next_is("]") && !first) {
        ++at_;
        if (operand.empty()) return error("an empty character class");
        parsed.operands.push_back(std::move(operand));
        return parsed;
      }
      if (next_is("&&")) {
        if (operand.empty()) return error("an intersection with nothing");
        at_ += 2;
        parsed.operands.push_back(std::move(operand));
        operand = {};
        continue;
      }
      FERRY_TRY_VOID(class_item(operand, depth));
    }
    return error("\"]\" is missing");
  }

  Status class_item(Operand& operand, int depth) {
    if (next_is("[:")) return refuse("a POSIX bracket");
    if (next_is("[")) {
      ++at_;
      FERRY_TRY(ClassText nested, character_class(depth + 1));
      if (nested.is_plain() && !nested.negated) {
        operand.items += nested.operands[0].items;
      } else {
        operand.alternatives.push_back(nested.expression());
      }
      return {};
    }
    FERRY_TRY(bool was_set, class_set_escape(operand));
    if (was_set) return {};
    FERRY_TRY(char32_t low, class_character());
    operand.items += literal(low);
    const bool is_range = next_is("-") && at_ + 1 < in_.size() && in_[at_ + 1] != ']' &&
                          !next_is("-[") && !next_is("-&&");
    if (!is_range) return {};
    ++at_;
    const size_t before_high = operand.items.size();
    FERRY_TRY(bool high_is_set, class_set_escape(operand));
    if (high_is_set) {
      operand.items.insert(before_high, literal('-'));
      return {};
    }
    FERRY_TRY(char32_t high, class_character());
    if (high < low) return error("a range that runs backwards");
    operand.items += '-';
    operand.items += literal(high);
    return {};
  }

  Result<char32_t> class_character() {
    if (in_[at_] != '\\') return take();
    if (at_ + 1 >= in_.size()) return error("a backslash at the end");
    if (in_[at_ + 1] == 'b') {
      at_ += 2;
      return U'\b';
    }
    return escaped_character();
  }

  // \s \w \d \p{...} and the like inside a class; false if the next item is not one of them.
  Result<bool> class_set_escape(Operand& operand) {
    if (!next_is("\\") || at_ + 1 >= in_.size()) return false;
    switch (in_[at_ + 1]) {
      case 'd': operand.items += "\\p{Nd}"; break;
      case 'D': operand.items += "\\P{Nd}"; break;
      case 's': operand.items += kSpaceItems; break;
      case 'S': operand.items += "\\S\\x{180e}"; break;
      case 'h': operand.items += "0-9A-Fa-f"; break;
      case 'H': operand.alternatives.push_back("[^0-9A-Fa-f]"); break;
      case 'w': operand.items += kWordItems; break;
      case 'W': operand.alternatives.push_back(fmt::format("[^{}]", kWordItems)); break;
      case 'p':
      case 'P': {
        FERRY_TRY(std::string items, property());
        operand.items += items;
        return true;
      }
      default: return false;
    }
    at_ += 2;
    return true;
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
  std::vector<size_t> groups_;  // per open group: how many "(?i)" must close with it
  size_t top_closers_ = 0;
  Before before_ = Before::kNothing;
};

}  // namespace

Result<std::string> pcre2_from_oniguruma(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return invalid_input("regex of {} bytes, the limit is {}", pattern.size(), kMaxPatternBytes);
  }
  if (!is_utf8(pattern)) return invalid_input("regex is not valid UTF-8");
  // Trailing white space, as some tokenizers look for it, would try every position of a long run of
  // spaces and walk to the end of the run from each. A match can only start where the run does.
  if (pattern == "\\s+$") return fmt::format("(?<![{0}])[{0}]+$", kSpaceItems);
  return Translator(pattern).run();
}

std::string pcre2_from_literal(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text, at);
    out += literal(step.code_point);
    at += step.length;
  }
  return out;
}

}  // namespace ferry::text
