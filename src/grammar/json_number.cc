// See json_number.h. Magnitudes are compared as decimal strings, digit by digit; signs are handled
// above that.
#include "grammar/json_number.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string>

namespace ferry::grammar {
namespace {

constexpr int kMaxDigits = 15;
constexpr int64_t kMaxInteger = 999'999'999'999'999'999;  // 18 digits

ExprRef nothing() { return choice({}); }
ExprRef digit() { return chars(digit_chars()); }
ExprRef digits(int64_t count) { return repeat(digit(), count, count); }
ExprRef digit_between(int first, int last) {
  if (first > last) return nothing();
  return chars({{static_cast<char32_t>('0' + first), static_cast<char32_t>('0' + last)}});
}
int value_of(char c) { return c - '0'; }
std::string_view rest(std::string_view text) { return text.substr(1); }

// Digit strings as long as the bound, at least or at most the bound.
ExprRef at_least(std::string_view low) {
  if (low.empty()) return bytes("");
  const int first = value_of(low[0]);
  return choice({sequence({bytes(low.substr(0, 1)), at_least(rest(low))}),
                 sequence({digit_between(first + 1, 9), digits(std::ssize(low) - 1)})});
}
ExprRef at_most(std::string_view high) {
  if (high.empty()) return bytes("");
  const int first = value_of(high[0]);
  return choice({sequence({bytes(high.substr(0, 1)), at_most(rest(high))}),
                 sequence({digit_between(0, first - 1), digits(std::ssize(high) - 1)})});
}
ExprRef between(std::string_view low, std::string_view high) {
  if (low.empty()) return bytes("");
  const int first = value_of(low[0]);
  const int last = value_of(high[0]);
  if (first == last) return sequence({bytes(low.substr(0, 1)), between(rest(low), rest(high))});
  return choice({sequence({bytes(low.substr(0, 1)), at_least(rest(low))}),
                 sequence({digit_between(first + 1, last - 1), digits(std::ssize(low) - 1)}),
                 sequence({bytes(high.substr(0, 1)), at_most(rest(high))})});
}

// Whole numbers from low to high, without leading zeros. REQUIRES: 0 ≤ low
ExprRef whole_between(int64_t low, int64_t high) {
  if (low > high) return nothing();
  const std::string first = std::to_string(low);
  const std::string last = std::to_string(high);
  if (first.size() == last.size()) return between(first, last);
  std::vector<ExprRef> ways{at_least(first)};
  for (size_t length = first.size() + 1; length < last.size(); ++length) {
    ways.push_back(sequence({digit_between(1, 9), digits(static_cast<int64_t>(length) - 1)}));
  }
  ways.push_back(between("1" + std::string(last.size() - 1, '0'), last));
  return choice(std::move(ways));
}

// A bound of an integer, moved to the next integer that is inside. Beyond kMaxInteger any value
// does: nothing so large is written.
int64_t integer_bound(const Bound& bound, bool is_low) {
  constexpr int64_t kBeyond = kMaxInteger + 1;
  int64_t value = 0;
  if (bound.value.is_number_unsigned() && bound.value.get<uint64_t>() > uint64_t{kMaxInteger}) {
    value = kBeyond;
  } else if (bound.value.is_number_integer()) {
    value = std::clamp(bound.value.get<int64_t>(), -kBeyond, kBeyond);
  } else {
    const double number = bound.value.get<double>();
    const double whole = is_low ? std::ceil(number) : std::floor(number);
    if (std::abs(whole) >= 1e18) return whole > 0 ? kBeyond : -kBeyond;
    if (whole != number) return static_cast<int64_t>(whole);
    value = static_cast<int64_t>(whole);
  }
  return bound.exclusive ? value + (is_low ? 1 : -1) : value;
}

// |bound| as decimal digits: before the point without leading zeros, behind it without trailing.
struct Decimal {
  std::string whole, fraction;
  bool negative = false;
  bool zero() const { return whole == "0" && fraction.empty(); }
};

Result<Decimal> to_decimal(const Json& value) {
  std::string text;
  if (value.is_number_float()) {
    char buffer[400];
    const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value.get<double>(),
                                   std::chars_format::fixed);
    text.assign(buffer, end.ptr);
  } else {
    text = value.dump();
  }
  Decimal decimal;
  decimal.negative = text[0] == '-';
  if (decimal.negative) text.erase(0, 1);
  const size_t point = std::min(text.find('.'), text.size());
  decimal.whole = text.substr(0, point);
  if (point < text.size()) decimal.fraction = text.substr(point + 1);
  while (!decimal.fraction.empty() && decimal.fraction.back() == '0') decimal.fraction.pop_back();
  if (decimal.fraction.size() > kMaxDigits) {
    return unsupported("bound {} has more than {} digits behind its point", value.dump(),
                       kMaxDigits);
  }
  if (decimal.zero()) decimal.negative = false;
  return decimal;
}

ExprRef any_digits() { return repeat(digit(), 0, -1); }
ExprRef some_digits() { return repeat(digit(), 1, -1); }
ExprRef zeros(int64_t min) { return repeat(bytes("0"), min, -1); }
ExprRef any_fraction() { return optional(sequence({bytes("."), some_digits()})); }

// Digits behind a point that make at least / at most 0.fraction.
ExprRef fraction_at_least(std::string_view fraction, bool exclusive) {
  if (fraction.empty()) {
    if (!exclusive) return any_digits();
    return sequence({zeros(0), digit_between(1, 9), any_digits()});
  }
  const int first = value_of(fraction[0]);
  return choice(
      {sequence({digit_between(first + 1, 9), any_digits()}),
       sequence({bytes(fraction.substr(0, 1)), fraction_at_least(rest(fraction), exclusive)})});
}
ExprRef fraction_at_most(std::string_view fraction, bool exclusive) {
  if (fraction.empty()) return exclusive ? nothing() : zeros(0);
  const int first = value_of(fraction[0]);
  return choice(
      {bytes(""), sequence({digit_between(0, first - 1), any_digits()}),
       sequence({bytes(fraction.substr(0, 1)), fraction_at_most(rest(fraction), exclusive)})});
}

// Magnitudes of at least / at most the bound, of any length.
ExprRef magnitude_at_least(const Decimal& low, bool exclusive) {
  const int64_t whole = std::atoll(low.whole.c_str());
  std::vector<ExprRef> ways{
      sequence({whole_between(whole + 1, kMaxInteger), any_fraction()}),
      sequence({bytes(low.whole), bytes("."), fraction_at_least(low.fraction, exclusive)})};
  if (low.fraction.empty() && !exclusive) ways.push_back(bytes(low.whole));
  return choice(std::move(ways));
}
ExprRef magnitude_at_most(const Decimal& high, bool exclusive) {
  const int64_t whole = std::atoll(high.whole.c_str());
  std::vector<ExprRef> ways{
      sequence({bytes(high.whole), bytes("."), fraction_at_most(high.fraction, exclusive)})};
  if (whole > 0) ways.push_back(sequence({whole_between(0, whole - 1), any_fraction()}));
  if (!high.fraction.empty() || !exclusive) ways.push_back(bytes(high.whole));
  return choice(std::move(ways));
}

// All that is written as a magnitude: 15 digits, a leading 0 not counted, a digit behind each
// point.
ExprRef any_magnitude() {
  std::vector<ExprRef> ways{
      sequence({bytes("0"), optional(sequence({bytes("."), repeat(digit(), 1, kMaxDigits)}))})};
  for (int64_t whole = 1; whole <= kMaxDigits; ++whole) {
    const int64_t left = kMaxDigits - whole;
    const ExprRef fraction =
        left == 0 ? bytes("") : optional(sequence({bytes("."), repeat(digit(), 1, left)}));
    ways.push_back(sequence({digit_between(1, 9), digits(whole - 1), fraction}));
  }
  return choice(std::move(ways));
}

struct DecimalBound {
  Decimal value;
  bool exclusive = false;
};

Result<ExprRef> magnitude_between(const std::optional<DecimalBound>& low,
                                  const std::optional<DecimalBound>& high, Budget& budget) {
  if (low && low->value.whole.size() > kMaxDigits) return nothing();
  FERRY_TRY(Dfa dfa, to_dfa(any_magnitude(), budget));
  if (low) {
    FERRY_TRY(const Dfa bound, to_dfa(magnitude_at_least(low->value, low->exclusive), budget));
    FERRY_TRY(dfa, intersect(dfa, bound, budget));
  }
  if (high && high->value.whole.size() <= kMaxDigits) {
    FERRY_TRY(const Dfa bound, to_dfa(magnitude_at_most(high->value, high->exclusive), budget));
    FERRY_TRY(dfa, intersect(dfa, bound, budget));
  }
  return automaton(std::move(dfa));
}

}  // namespace

ExprRef json_any_number() {
  const ExprRef exponent =
      sequence({chars({{'E', 'E'}, {'e', 'e'}}), optional(chars({{'+', '+'}, {'-', '-'}})),
                repeat(digit(), 1, 2)});
  return sequence({optional(bytes("-")), any_magnitude(), optional(exponent)});
}

Result<ExprRef> json_integer(const NumberBounds& bounds) {
  const int64_t low = bounds.low ? integer_bound(*bounds.low, true) : -kMaxInteger;
  const int64_t high = bounds.high ? integer_bound(*bounds.high, false) : kMaxInteger;
  std::vector<ExprRef> ways;
  if (high >= 0) {
    ways.push_back(whole_between(std::max<int64_t>(low, 0), std::min(high, kMaxInteger)));
  }
  if (low < 0) {
    ways.push_back(sequence(
        {bytes("-"), whole_between(std::max<int64_t>(-high, 1), std::min(-low, kMaxInteger))}));
  }
  return choice(std::move(ways));
}

Result<ExprRef> json_number(const NumberBounds& bounds, Budget& budget) {
  if (!bounds.low && !bounds.high) return json_any_number();
  std::optional<DecimalBound> low, high;
  if (bounds.low) {
    FERRY_TRY(Decimal value, to_decimal(bounds.low->value));
    low = {std::move(value), bounds.low->exclusive};
  }
  if (bounds.high) {
    FERRY_TRY(Decimal value, to_decimal(bounds.high->value));
    high = {std::move(value), bounds.high->exclusive};
  }
  std::vector<ExprRef> ways;
  if (!high || !high->value.negative) {
    const bool from_zero = low && low->value.negative;
    FERRY_TRY(ExprRef way, magnitude_between(from_zero ? std::nullopt : low, high, budget));
    ways.push_back(std::move(way));
  }
  if (!low || low->value.negative) {
    // Below zero the bounds change places; -0 is 0, which an exclusive bound of 0 rules out.
    std::optional<DecimalBound> nearest;
    if (high && (high->value.negative || (high->value.zero() && high->exclusive))) nearest = high;
    FERRY_TRY(ExprRef way, magnitude_between(nearest, low, budget));
    ways.push_back(sequence({bytes("-"), std::move(way)}));
  }
  return choice(std::move(ways));
}

}  // namespace ferry::grammar
