// Filters that give numbers: int, float, abs, round.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>

#include "text/jinja_builtins.h"
#include "text/jinja_unicode.h"

namespace ferry::text::jinja {
namespace {

// Python's int(text, base): white space around, a sign, single underscores between digits, and a
// prefix that fits the base.
std::optional<Int> parse_integer(std::string_view text, int64_t base) {
  text = strip(text, nullptr, true, true);
  bool is_negative = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    is_negative = text[0] == '-';
    text.remove_prefix(1);
  }
  bool after_prefix = false;
  if (text.size() > 1 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    const int64_t named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (named != 0 && (base == named || base == 0)) {
      base = named;
      text.remove_prefix(2);
      after_prefix = true;
    }
  }
  const bool base_from_text = base == 0;
  if (base_from_text) base = 10;
  Int value = 0;
  bool last_was_digit = after_prefix;
  for (char c : text) {
    if (c == '_' && last_was_digit) {
      last_was_digit = false;
      continue;
    }
    const char lower = static_cast<char>(c | 0x20);
    const int64_t digit = c >= '0' && c <= '9'           ? c - '0'
                          : lower >= 'a' && lower <= 'z' ? lower - 'a' + 10
                                                         : 99;
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, static_cast<Int>(base), &value) ||
        __builtin_add_overflow(value, static_cast<Int>(digit), &value)) {
      fail("an integer of more than 127 bits");
    }
    last_was_digit = true;
  }
  if (text.empty() || !last_was_digit) return std::nullopt;
  if (base_from_text && text[0] == '0' && value != 0) return std::nullopt;
  return is_negative ? -value : value;
}

std::optional<double> parse_real(std::string_view text) {
  text = strip(text, nullptr, true, true);
  std::string clean;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto is_digit_at = [&](size_t at) {
      return at < text.size() && text[at] >= '0' && text[at] <= '9';
    };
    if (text[i] == '_') {
      if (i == 0 || !is_digit_at(i - 1) || !is_digit_at(i + 1)) return std::nullopt;
      continue;
    }
    clean += static_cast<char>(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]);
  }
  std::string_view rest = clean;
  bool is_negative = false;
  if (!rest.empty() && (rest[0] == '+' || rest[0] == '-')) {
    is_negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  double value = 0;
  if (rest == "inf" || rest == "infinity") {
    value = INFINITY;
  } else if (rest == "nan") {
    value = NAN;
  } else {
    if (rest.empty() || !(rest[0] == '.' || (rest[0] >= '0' && rest[0] <= '9'))) {
      return std::nullopt;
    }
    if (rest == ".") return std::nullopt;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (end != rest.data() + rest.size()) return std::nullopt;
    if (error == std::errc::result_out_of_range)
      value = std::strtod(std::string(rest).c_str(), nullptr);
    if (error == std::errc::invalid_argument) return std::nullopt;
  }
  return is_negative ? -value : value;
}

std::optional<Int> truncated(double value) {
  if (std::isnan(value)) return std::nullopt;
  if (std::isinf(value)) fail("cannot convert float infinity to integer");
  if (std::abs(value) >= 0x1p127) fail("an integer outgrows 127 bits");
  return static_cast<Int>(std::trunc(value));
}

Value filter_int(Interpreter&, const Value& subject, const Args& args) {
  const Bound bound("int", args, {"default", "base"});
  const Value fallback = bound.value_or(0, Value::integer_of(0));
  if (subject.is(Kind::kUndefined)) fail_undefined(subject);
  if (subject.is_integral()) return Value::integer_of(to_integer(subject));
  std::optional<double> real;
  if (subject.is(Kind::kFloat)) real = subject.real;
  if (subject.is_string()) {
    const int64_t base = bound.integer_or(1, 10);
    if (base >= 0 && base <= 36 && base != 1) {
      if (const auto parsed = parse_integer(subject.text, base)) return Value::integer_of(*parsed);
    }
    real = parse_real(subject.text);
  }
  if (!real) return fallback;
  const std::optional<Int> whole = truncated(*real);
  return whole ? Value::integer_of(*whole) : fallback;
}

Value filter_float(Interpreter&, const Value& subject, const Args& args) {
  const Bound bound("float", args, {"default"});
  if (subject.is(Kind::kUndefined)) fail_undefined(subject);
  if (subject.is_number()) return Value::real_of(to_double(subject));
  if (subject.is_string()) {
    if (const auto parsed = parse_real(subject.text)) return Value::real_of(*parsed);
  }
  return bound.value_or(0, Value::real_of(0.0));
}

Value filter_abs(Interpreter&, const Value& subject, const Args& args) {
  const Bound bound("abs", args, {});
  if (subject.is(Kind::kUndefined)) fail("bad operand type for abs(): 'Undefined'");
  if (subject.is(Kind::kFloat)) return Value::real_of(std::abs(subject.real));
  if (!subject.is_integral()) fail("bad operand type for abs(): '{}'", type_name(subject));
  return to_integer(subject) < 0 ? negative(subject) : positive(subject);
}

// Python's round(): the decimal digits of the exact binary value, ties to even.
double rounded(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > 320) return value;
  if (digits < -310) return std::copysign(0.0, value);
  if (digits >= 0) {
    char buffer[800];
    std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(digits), value);
    return std::strtod(buffer, nullptr);
  }
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  const double scaled = value / scale;
  double whole = std::nearbyint(scaled);
  return whole * scale;
}

Value round_integer(Int value, int64_t digits) {
  if (digits >= 0) return Value::integer_of(value);
  Int scale = 1;
  for (int64_t i = 0; i > digits; --i) {
    if (__builtin_mul_overflow(scale, static_cast<Int>(10), &scale)) return Value::integer_of(0);
  }
  Int rest = value % scale;
  if (rest < 0) rest += scale;
  Int down = value - rest;
  const Int half = scale / 2;
  const bool up = rest > half || (rest == half && (down / scale) % 2 != 0);
  return Value::integer_of(up ? down + scale : down);
}

Value filter_round(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("round", args, {"precision", "method"});
  const std::string_view method = bound.string_or(1, "common");
  const int64_t digits = bound.integer_or(0, 0);
  if (method != "common" && method != "ceil" && method != "floor") {
    fail("round: the method must be common, ceil or floor");
  }
  if (subject.is(Kind::kUndefined)) fail_undefined(subject);
  if (!subject.is_number()) fail("round: expected a number, found {}", type_name(subject));
  if (method == "common") {
    if (subject.is(Kind::kFloat)) return Value::real_of(rounded(subject.real, digits));
    return round_integer(to_integer(subject), digits);
  }
  const Value scale =
      binary_operation(in, BinaryOp::kPower, Value::integer_of(10), Value::integer_of(digits));
  const Value scaled = binary_operation(in, BinaryOp::kMultiply, subject, scale);
  Value whole = scaled;
  if (scaled.is(Kind::kFloat)) {
    const double part = method == "ceil" ? std::ceil(scaled.real) : std::floor(scaled.real);
    const std::optional<Int> integer = truncated(part);
    if (!integer) fail("cannot convert float NaN to integer");
    whole = Value::integer_of(*integer);
  }
  return binary_operation(in, BinaryOp::kDivide, whole, scale);
}

constexpr FilterEntry kNumberFilters[] = {
    {"abs", filter_abs},
    {"float", filter_float},
    {"int", filter_int},
    {"round", filter_round},
};

}  // namespace

Filter find_number_filter(std::string_view name) {
  const auto* it = std::find_if(std::begin(kNumberFilters), std::end(kNumberFilters),
                                [name](const FilterEntry& entry) { return entry.name == name; });
  return it == std::end(kNumberFilters) ? nullptr : it->filter;
}

}  // namespace ferry::text::jinja
