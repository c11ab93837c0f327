// Python's two ways to fill a format: "%s and %d" % values, and "{} and {:>8}".format(values).
#include <algorithm>
#include <cmath>

#include "text/jinja_eval.h"
#include "text/jinja_unicode.h"

namespace ferry::text::jinja {
namespace {

// Wider is refused: it can only be meant to exhaust memory.
constexpr int64_t kMaxWidth = 100'000;

struct Spec {
  std::string fill = " ";
  char align = 0;  // < > = ^
  char sign = '-';
  bool alternate = false;
  bool zero = false;
  int64_t width = 0;
  char grouping = 0;  // , or _
  int64_t precision = -1;
  char type = 0;
};

bool is_digit_char(char c) { return c >= '0' && c <= '9'; }

int64_t read_number(std::string_view text, size_t* at) {
  int64_t value = 0;
  while (*at < text.size() && is_digit_char(text[*at])) {
    value = value * 10 + (text[(*at)++] - '0');
    if (value > kMaxWidth) fail("a width or precision above {} in a format", kMaxWidth);
  }
  return value;
}

// `body` after its sign and prefix, filled to the width.
std::string pad(const Spec& spec, const std::string& prefix, const std::string& body,
                char default_align) {
  const auto size = static_cast<int64_t>(code_point_length(prefix) + code_point_length(body));
  const int64_t missing = std::max<int64_t>(spec.width - size, 0);
  const char align = spec.align != 0 ? spec.align : default_align;
  const int64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  const int64_t inside = align == '=' ? missing : 0;
  std::string out;
  const auto add_fill = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i) out += spec.fill;
  };
  add_fill(left);
  out += prefix;
  add_fill(inside);
  out += body;
  add_fill(missing - left - inside);
  return out;
}

std::string sign_of(bool is_negative, char sign) {
  if (is_negative) return "-";
  return sign == '+' ? "+" : sign == ' ' ? " " : "";
}

std::string digits_in_base(Int value, unsigned base, bool upper) {
  std::string digits;
  UnsignedInt rest = value < 0 ? -static_cast<UnsignedInt>(value) : static_cast<UnsignedInt>(value);
  do {
    digits += (upper ? "0123456789ABCDEF" : "0123456789abcdef")[static_cast<size_t>(rest % base)];
    rest /= base;
  } while (rest != 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string grouped(const std::string& digits, char separator, size_t group) {
  size_t whole = 0;
  while (whole < digits.size() && std::isxdigit(static_cast<unsigned char>(digits[whole]))) ++whole;
  std::string out;
  for (size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % group == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(whole);
}

std::string format_integer(const Spec& spec, Int value) {
  const char type = spec.type == 0 ? 'd' : spec.type;
  if (type == 'c') {
    if (value < 0 || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
      fail("%c needs the number of a character");
    }
    std::string letter;
    append_code_point(letter, static_cast<char32_t>(value));
    return pad(spec, "", letter, '<');
  }
  const char lower = static_cast<char>(type | 0x20);
  const unsigned base = lower == 'x' ? 16 : lower == 'o' ? 8 : lower == 'b' ? 2 : 10;
  std::string prefix = sign_of(value < 0, spec.sign);
  if (spec.alternate && base != 10) prefix += std::string("0") + type;
  std::string digits = digits_in_base(value, base, type == 'X');
  if (spec.precision > static_cast<int64_t>(digits.size())) {
    digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
  }
  if (spec.grouping != 0) digits = grouped(digits, spec.grouping, base == 10 ? 3 : 4);
  return pad(spec, prefix, digits, '>');
}

std::string format_real(const Spec& spec, double value) {
  std::string prefix = sign_of(std::signbit(value) && !std::isnan(value), spec.sign);
  const double size = std::abs(value);
  const char type = spec.type == 0 ? 'g' : spec.type;
  const bool upper = type >= 'A' && type <= 'Z';
  std::string body;
  if (!std::isfinite(size)) {
    body = std::isnan(size) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
    if (type == '%') body += '%';
  } else if (spec.type == 0 && spec.precision < 0) {
    body = float_repr(size);
  } else {
    const int precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
    if (precision > 400) fail("a precision above 400 in a format");
    const bool percent = type == '%';
    const std::string pattern =
        std::string("%") + (spec.alternate ? "#" : "") + ".*" + (percent ? 'f' : type);
    char buffer[1200];
    std::snprintf(buffer, sizeof buffer, pattern.c_str(), precision, percent ? size * 100 : size);
    body = buffer;
    if (spec.type == 0 && body.find_first_of(".en") == std::string::npos) body += ".0";
    if (percent) body += '%';
  }
  if (spec.grouping != 0) {
    const size_t whole = std::min(body.find_first_not_of("0123456789"), body.size());
    body = grouped(body.substr(0, whole), spec.grouping, 3) + body.substr(whole);
  }
  return pad(spec, prefix, body, '>');
}

std::string format_text(const Spec& spec, std::string_view text) {
  if (spec.precision >= 0) {
    text = text.substr(0, code_point_offset(text, static_cast<size_t>(spec.precision)));
  }
  return pad(spec, "", std::string(text), '<');
}

// ---- "..." % values

class PercentFormatter {
 public:
  PercentFormatter(Interpreter& in, std::string_view format, const Value& values)
      : in_(in), format_(format), values_(values) {}

  std::string run() {
    while (at_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', at_), format_.size());
      put(format_.substr(at_, percent - at_));
      at_ = percent + 1;
      if (percent < format_.size()) conversion();
    }
    const bool is_tuple = values_.is(Kind::kTuple);
    const size_t given = is_tuple ? values_.list().items.size() : 1;
    const bool is_mapping = values_.is(Kind::kDict) || values_.is(Kind::kList);
    if (next_ < given && !(is_mapping && !is_tuple)) {
      fail("not all arguments converted during string formatting");
    }
    return std::move(out_);
  }

 private:
  void put(std::string_view text) {
    in_.heap().charge_bytes(static_cast<int64_t>(text.size()));
    out_ += text;
  }
  char peek() const {
    if (at_ >= format_.size()) fail("incomplete format");
    return format_[at_];
  }

  Value next_value() {
    if (values_.is(Kind::kTuple)) {
      const auto& items = values_.list().items;
      if (next_ >= items.size()) fail("not enough arguments for format string");
      return items[next_++];
    }
    if (next_++ > 0) fail("not enough arguments for format string");
    return values_;
  }

  Value named_value() {
    const size_t begin = ++at_;
    for (int level = 1; level > 0; ++at_) {
      const char c = peek();
      level += c == '(' ? 1 : c == ')' ? -1 : 0;
    }
    if (!values_.is(Kind::kDict)) fail("format requires a mapping");
    const std::string_view key = format_.substr(begin, at_ - begin - 1);
    const Value* value = values_.dict().find(in_.heap(), key);
    if (value == nullptr) fail("the format names '{}', which is not given", key);
    return *value;
  }

  int64_t number_or_star() {
    if (peek() != '*') return read_number(format_, &at_);
    ++at_;
    const Value value = next_value();
    if (!value.is_integral()) fail("* wants int");
    const Int number = to_integer(value);
    if (number > kMaxWidth || number < -kMaxWidth) fail("a width above {} in a format", kMaxWidth);
    return static_cast<int64_t>(number);
  }

  void conversion() {
    Spec spec;
    bool left = false, zero = false, has_value = false;
    Value value;
    if (peek() == '(') {
      value = named_value();
      has_value = true;
    }
    for (; std::string_view("-+ 0#").find(peek()) != std::string_view::npos; ++at_) {
      const char flag = peek();
      left |= flag == '-';
      zero |= flag == '0';
      spec.alternate |= flag == '#';
      if (flag == '+' || (flag == ' ' && spec.sign != '+')) spec.sign = flag;
    }
    spec.width = number_or_star();
    if (spec.width < 0) {
      left = true;
      spec.width = -spec.width;
    }
    if (peek() == '.') {
      ++at_;
      spec.precision = std::max<int64_t>(number_or_star(), 0);
    }
    while (peek() == 'h' || peek() == 'l' || peek() == 'L') ++at_;
    spec.type = peek();
    ++at_;
    if (spec.type == '%') return put("%");
    if (!has_value) value = next_value();
    spec.align = left ? '<' : '>';
    put(convert(spec, value, zero && !left));
  }

  std::string convert(Spec spec, const Value& value, bool zero) {
    const auto fill_zero = [&] {
      if (!zero) return;
      spec.fill = "0";
      spec.align = '=';
    };
    switch (spec.type) {
      case 's': return format_text(spec, in_.text_view(value));
      case 'r': {
        std::string text;
        append_repr(in_.heap(), &text, value);
        return format_text(spec, text);
      }
      case 'c':
        if (value.is_string() && length(value) == 1) return format_text(spec, value.text);
        if (!value.is_integral()) fail("%c requires int or char");
        spec.precision = -1;
        return format_integer(spec, to_integer(value));
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o': return convert_integer(spec, value, fill_zero);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        if (value.is(Kind::kUndefined)) fail_undefined(value);
        if (!value.is_number()) fail("must be real number, not {}", type_name(value));
        fill_zero();
        return format_real(spec, to_double(value));
      case 'a': fail_unsupported("the format %a");
      default: fail("unsupported format character '{}'", spec.type);
    }
  }

  template <typename FillZero>
  std::string convert_integer(Spec& spec, const Value& value, FillZero fill_zero) {
    const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    if (value.is(Kind::kUndefined)) fail_undefined(value);
    Int number;
    if (value.is_integral()) {
      number = to_integer(value);
    } else if (decimal && value.is(Kind::kFloat) && std::abs(value.real) < 0x1p127) {
      number = static_cast<Int>(std::trunc(value.real));
    } else {
      fail("%{} format: a number is required, not {}", spec.type, type_name(value));
    }
    if (decimal) spec.type = 'd';
    fill_zero();
    return format_integer(spec, number);
  }

  Interpreter& in_;
  std::string_view format_;
  const Value& values_;
  size_t at_ = 0;
  size_t next_ = 0;
  std::string out_;
};

// ---- "{}".format(...)

class BraceFormatter {
 public:
  BraceFormatter(Interpreter& in, const Args& args) : in_(in), args_(args) {}

  std::string run(std::string_view format, int depth) {
    if (depth > 2) fail("max string recursion exceeded");
    std::string out;
    for (size_t at = 0; at < format.size();) {
      const size_t brace = std::min(format.find_first_of("{}", at), format.size());
      put(&out, format.substr(at, brace - at));
      if (brace == format.size()) break;
      if (brace + 1 < format.size() && format[brace + 1] == format[brace]) {
        put(&out, format.substr(brace, 1));
        at = brace + 2;
        continue;
      }
      if (format[brace] == '}') fail("single '}}' encountered in format string");
      size_t end = brace + 1;
      for (int level = 1; level > 0; ++end) {
        if (end >= format.size()) fail("expected '}}' before end of format string");
        level += format[end] == '{' ? 1 : format[end] == '}' ? -1 : 0;
      }
      put(&out, replacement(format.substr(brace + 1, end - brace - 2), depth));
      at = end;
    }
    return out;
  }

 private:
  void put(std::string* out, std::string_view text) {
    in_.heap().charge_bytes(static_cast<int64_t>(text.size()));
    *out += text;
  }

  // name!conversion:spec
  std::string replacement(std::string_view field, int depth) {
    size_t name_end = 0;
    for (bool in_brackets = false; name_end < field.size(); ++name_end) {
      const char c = field[name_end];
      if (c == '[') in_brackets = true;
      if (c == ']') in_brackets = false;
      if (!in_brackets && (c == '!' || c == ':')) break;
    }
    Value value = lookup(field.substr(0, name_end));
    std::string_view rest = field.substr(name_end);
    if (!rest.empty() && rest[0] == '!') {
      if (rest.size() < 2) fail("end of string while looking for conversion specifier");
      value = converted(rest[1], value);
      rest.remove_prefix(2);
      if (!rest.empty() && rest[0] != ':') fail("expected ':' after conversion specifier");
    }
    if (!rest.empty()) rest.remove_prefix(1);
    return format_value(value, run(rest, depth + 1));
  }

  Value converted(char conversion, const Value& value) {
    if (conversion == 's') return Value::string(in_.text_view(value));
    if (conversion != 'r') fail_unsupported("the conversion '!{}' in a format", conversion);
    std::string text;
    append_repr(in_.heap(), &text, value);
    return in_.heap().string(text);
  }

  Value argument(std::string_view name) {
    const bool is_number = !name.empty() && std::all_of(name.begin(), name.end(), is_digit_char);
    if (name.empty() || is_number) {
      if (name.empty() ? numbered_ : automatic_) {
        fail("cannot mix manual field specification and automatic field numbering");
      }
      (name.empty() ? automatic_ : numbered_) = true;
      size_t at = 0;
      const auto index = static_cast<size_t>(name.empty() ? next_++ : read_number(name, &at));
      if (index >= args_.positional.size()) {
        fail("replacement index {} out of range for positional arguments", index);
      }
      return args_.positional[index];
    }
    for (const auto& [keyword, value] : args_.keywords) {
      if (keyword == name) return value;
    }
    fail("the format names '{}', which is not given", name);
  }

  Value lookup(std::string_view name) {
    size_t end = std::min(name.find_first_of(".["), name.size());
    Value value = argument(name.substr(0, end));
    while (end < name.size()) {
      if (name[end] == '.') {
        const size_t next = std::min(name.find_first_of(".[", end + 1), name.size());
        if (next == end + 1) fail("empty attribute in format string");
        value = in_.get_attribute(value, in_.heap().copy(name.substr(end + 1, next - end - 1)));
        end = next;
        continue;
      }
      const size_t close = name.find(']', end);
      if (name[end] != '[' || close == std::string_view::npos) fail("missing ']' in format string");
      const std::string_view key = name.substr(end + 1, close - end - 1);
      if (key.empty()) fail("empty attribute in format string");
      const bool is_index = std::all_of(key.begin(), key.end(), is_digit_char);
      size_t at = 0;
      value = in_.get_element(
          value, is_index ? Value::integer_of(read_number(key, &at)) : in_.heap().string(key));
      end = close + 1;
    }
    return value;
  }

  static Spec parse_spec(std::string_view text) {
    Spec spec;
    size_t at = 0;
    const auto is_align = [&](size_t i) {
      return i < text.size() && std::string_view("<>=^").find(text[i]) != std::string_view::npos;
    };
    const size_t second = code_point_offset(text, 1);
    if (!text.empty() && is_align(second)) {
      spec.fill = text.substr(0, second);
      spec.align = text[second];
      at = second + 1;
    } else if (is_align(0)) {
      spec.align = text[at++];
    }
    const auto skip = [&](std::string_view any) {
      if (at >= text.size() || any.find(text[at]) == std::string_view::npos) return '\0';
      return text[at++];
    };
    if (const char sign = skip("+- ")) spec.sign = sign;
    if (skip("z")) fail_unsupported("'z' in a format");
    spec.alternate = skip("#") != 0;
    spec.zero = skip("0") != 0;
    spec.width = read_number(text, &at);
    spec.grouping = skip(",_");
    if (skip(".")) {
      if (at >= text.size() || !is_digit_char(text[at])) fail("format specifier missing precision");
      spec.precision = read_number(text, &at);
    }
    if (at < text.size()) spec.type = text[at++];
    if (at != text.size()) fail("invalid format specifier '{}'", text);
    return spec;
  }

  std::string format_value(const Value& value, const std::string& text) {
    if (text.empty()) return std::string(in_.text_view(value));
    if (!value.is_string() && !value.is_number()) {
      fail("unsupported format string passed to {}", type_name(value));
    }
    Spec spec = parse_spec(text);
    in_.heap().charge_bytes(spec.width);
    if (spec.zero && spec.align == 0) {
      spec.fill = "0";
      spec.align = value.is_string() ? '<' : '=';
    }
    const bool is_text_type = spec.type == 's' || spec.type == 0;
    if (value.is_string()) {
      if (!is_text_type || spec.align == '=' || spec.sign != '-' || spec.alternate ||
          spec.grouping != 0) {
        fail("format specifier '{}' does not fit a string", text);
      }
      return format_text(spec, value.text);
    }
    const bool real_type = std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
    if (value.is(Kind::kFloat) || (real_type && spec.type != 0)) {
      if (!real_type && spec.type != 0) fail("format specifier '{}' does not fit a float", text);
      return format_real(spec, to_double(value));
    }
    const bool int_type = std::string_view("bcdoxX").find(spec.type) != std::string_view::npos;
    if ((!int_type && spec.type != 0) || spec.precision >= 0) {
      fail("format specifier '{}' does not fit an integer", text);
    }
    if (spec.grouping != 0 && spec.zero) fail_unsupported("grouping with zero fill in a format");
    return format_integer(spec, to_integer(value));
  }

  Interpreter& in_;
  const Args& args_;
  int64_t next_ = 0;
  bool automatic_ = false, numbered_ = false;
};

}  // namespace

std::string format_percent(Interpreter& interpreter, std::string_view format, const Value& values) {
  return PercentFormatter(interpreter, format, values).run();
}

std::string format_braces(Interpreter& interpreter, std::string_view format, const Args& args) {
  return BraceFormatter(interpreter, args).run(format, 0);
}

}  // namespace ferry::text::jinja
