// Arithmetic and slices, as Python computes them. Integers that outgrow 127 bits are an error.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "text/jinja_eval.h"
#include "text/jinja_unicode.h"

namespace ferry::text::jinja {
namespace {

constexpr std::string_view kSigns[] = {"+", "-", "*", "/", "//", "%", "**"};

[[noreturn]] void fail_types(BinaryOp op, const Value& a, const Value& b) {
  fail("unsupported operand types for {}: '{}' and '{}'", kSigns[static_cast<int>(op)],
       type_name(a), type_name(b));
}

[[noreturn]] void fail_overflow() { fail("an integer outgrows 127 bits"); }

Int floor_divide(Int a, Int b) {
  if (b == 0) fail("integer division or modulo by zero");
  if (b == -1) {
    Int out;
    if (__builtin_sub_overflow(static_cast<Int>(0), a, &out)) fail_overflow();
    return out;
  }
  const Int quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Int modulo(Int a, Int b) {
  if (b == 0) fail("integer division or modulo by zero");
  if (b == -1) return 0;
  const Int rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

Value integer_power(Int base, Int exponent) {
  if (exponent < 0) {
    if (base == 0) fail("0.0 cannot be raised to a negative power");
    return Value::real_of(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  Int result = 1;
  if (base == 0 || base == 1 || base == -1) {
    if (base == 0) return Value::integer_of(exponent == 0 ? 1 : 0);
    return Value::integer_of(base == 1 || exponent % 2 == 0 ? 1 : -1);
  }
  if (exponent > 127) fail_overflow();
  for (Int i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(result, base, &result)) fail_overflow();
  }
  return Value::integer_of(result);
}

Value integer_operation(BinaryOp op, Int a, Int b) {
  Int out = 0;
  bool overflow = false;
  switch (op) {
    case BinaryOp::kAdd: overflow = __builtin_add_overflow(a, b, &out); break;
    case BinaryOp::kSubtract: overflow = __builtin_sub_overflow(a, b, &out); break;
    case BinaryOp::kMultiply: overflow = __builtin_mul_overflow(a, b, &out); break;
    case BinaryOp::kDivide:
      if (b == 0) fail("division by zero");
      return Value::real_of(
          static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
    case BinaryOp::kFloorDivide: out = floor_divide(a, b); break;
    case BinaryOp::kModulo: out = modulo(a, b); break;
    case BinaryOp::kPower: return integer_power(a, b);
  }
  if (overflow) fail_overflow();
  return Value::integer_of(out);
}

double real_modulo(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (b < 0) != (rest < 0) ? rest + b : rest;
}

double real_floor_divide(double a, double b) {
  double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1.0;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1.0 : whole;
}

double real_power(double a, double b) {
  if (a == 0 && b < 0) fail("0.0 cannot be raised to a negative power");
  if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b)) {
    fail_unsupported("a negative number to a broken power is a complex number");
  }
  const double out = std::pow(a, b);
  if (std::isinf(out) && std::isfinite(a) && std::isfinite(b)) fail("the power is too large");
  return out;
}

Value real_operation(BinaryOp op, double a, double b) {
  const bool divides =
      op == BinaryOp::kDivide || op == BinaryOp::kFloorDivide || op == BinaryOp::kModulo;
  if (divides && b == 0) fail("float division or modulo by zero");
  switch (op) {
    case BinaryOp::kAdd: return Value::real_of(a + b);
    case BinaryOp::kSubtract: return Value::real_of(a - b);
    case BinaryOp::kMultiply: return Value::real_of(a * b);
    case BinaryOp::kDivide: return Value::real_of(a / b);
    case BinaryOp::kFloorDivide: return Value::real_of(real_floor_divide(a, b));
    case BinaryOp::kModulo: return Value::real_of(real_modulo(a, b));
    case BinaryOp::kPower: return Value::real_of(real_power(a, b));
  }
  return {};
}

Value add(Heap& heap, const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) return concatenate(heap, a, b);
  if (a.is_string()) fail("can only concatenate str (not '{}') to str", type_name(b));
  if (a.kind != b.kind || (!a.is(Kind::kList) && !a.is(Kind::kTuple))) {
    fail_types(BinaryOp::kAdd, a, b);
  }
  const auto &x = a.list().items, &y = b.list().items;
  heap.charge_bytes(static_cast<int64_t>((x.size() + y.size()) * sizeof(Value)));
  std::vector<Value> items;
  items.reserve(x.size() + y.size());
  items.insert(items.end(), x.begin(), x.end());
  items.insert(items.end(), y.begin(), y.end());
  return heap.list(std::move(items), a.kind);
}

// A string, list or tuple, several times.
Value repeat(Heap& heap, const Value& sequence, Int wanted) {
  const bool is_string = sequence.is_string();
  const size_t unit =
      is_string ? sequence.text.size() : sequence.list().items.size() * sizeof(Value);
  const Int count = unit == 0 ? 0 : std::max<Int>(wanted, 0);
  // Charged before anything is made: an absurd count fails here.
  constexpr Int kMost = static_cast<Int>(1) << 40;
  const Int bytes = count > kMost ? kMost : std::min<Int>(count * static_cast<Int>(unit), kMost);
  heap.charge_bytes(static_cast<int64_t>(bytes));
  if (is_string) {
    std::string text;
    text.reserve(static_cast<size_t>(bytes));
    for (Int i = 0; i < count; ++i) text += sequence.text;
    return heap.string(text, sequence.safe);
  }
  std::vector<Value> items;
  const auto& source = sequence.list().items;
  for (Int i = 0; i < count; ++i) items.insert(items.end(), source.begin(), source.end());
  return heap.list(std::move(items), sequence.kind);
}

bool is_repeatable(const Value& value) {
  return value.is_string() || value.is(Kind::kList) || value.is(Kind::kTuple);
}

struct SliceBounds {
  Int start, stop, step;
  int64_t count;  // of elements chosen
};

Int slice_part(const Value& value, Int fallback) {
  if (value.is(Kind::kNone)) return fallback;
  if (!value.is_integral()) fail("slice indices must be integers or none");
  return to_integer(value);
}

// Python's slice.indices().
SliceBounds slice_bounds(Int size, const Value& start, const Value& stop, const Value& step) {
  SliceBounds bounds{};
  bounds.step = slice_part(step, 1);
  if (bounds.step == 0) fail("slice step cannot be zero");
  const bool forward = bounds.step > 0;
  const Int lowest = forward ? 0 : -1, highest = forward ? size : size - 1;
  const auto clamp = [&](const Value& part, Int fallback) {
    Int at = slice_part(part, fallback);
    if (part.is(Kind::kNone)) return at;
    if (at < 0) at = at < -size ? lowest : at + size;
    return std::clamp(at, lowest, highest);
  };
  bounds.start = clamp(start, forward ? lowest : highest);
  bounds.stop = clamp(stop, forward ? highest : lowest);
  const Int distance = forward ? bounds.stop - bounds.start : bounds.start - bounds.stop;
  const Int limit = size + 1;
  const Int stride = std::min(forward ? bounds.step : -std::max(bounds.step, -limit), limit);
  bounds.step = forward ? stride : -stride;
  bounds.count = distance <= 0 ? 0 : static_cast<int64_t>((distance - 1) / stride + 1);
  return bounds;
}

Value slice_string(Heap& heap, const Value& value, const SliceBounds& bounds) {
  const std::string_view text = value.text;
  if (bounds.count == 0) return Value::string({}, value.safe);
  if (bounds.step == 1) {
    const size_t begin = code_point_offset(text, static_cast<size_t>(bounds.start));
    const size_t size =
        code_point_offset(text.substr(begin), static_cast<size_t>(bounds.stop - bounds.start));
    return Value::string(text.substr(begin, size), value.safe);
  }
  heap.charge_bytes(static_cast<int64_t>(text.size() * sizeof(size_t)));
  std::vector<size_t> offsets;
  for (size_t position = 0; position < text.size();) {
    offsets.push_back(position);
    next_code_point(text, position);
  }
  offsets.push_back(text.size());
  std::string out;
  for (int64_t i = 0; i < bounds.count; ++i) {
    const auto at = static_cast<size_t>(bounds.start + i * bounds.step);
    out.append(text.substr(offsets[at], offsets[at + 1] - offsets[at]));
  }
  return heap.string(out, value.safe);
}

}  // namespace

Value concatenate(Heap& heap, const Value& a, const Value& b) {
  if (a.safe != b.safe) {
    const Value& plain = a.safe ? b : a;
    const std::string escaped = escape_html(plain.text);
    heap.charge_bytes(static_cast<int64_t>(escaped.size()));
    const Value marked = Value::string(escaped, true);
    return a.safe ? concatenate(heap, a, marked) : concatenate(heap, marked, b);
  }
  if (a.text.empty()) return b.text.empty() ? a : heap.string(b.text, b.safe);
  std::string text;
  heap.charge_bytes(static_cast<int64_t>(a.text.size() + b.text.size()));
  text.reserve(a.text.size() + b.text.size());
  text += a.text;
  text += b.text;
  return heap.string(text, a.safe);
}

Value binary_operation(Interpreter& interpreter, BinaryOp op, const Value& a, const Value& b) {
  Heap& heap = interpreter.heap();
  if (op == BinaryOp::kModulo && a.is_string()) {
    if (a.safe) fail_unsupported("'%' on a string marked as safe");
    return heap.string(format_percent(interpreter, a.text, b));
  }
  if (a.is(Kind::kUndefined)) fail_undefined(a);
  if (b.is(Kind::kUndefined)) {
    if (is_repeatable(a)) fail_types(op, a, b);
    fail_undefined(b);
  }
  if (a.is_number() && b.is_number()) {
    if (a.is(Kind::kFloat) || b.is(Kind::kFloat)) {
      return real_operation(op, to_double(a), to_double(b));
    }
    return integer_operation(op, to_integer(a), to_integer(b));
  }
  if (op == BinaryOp::kAdd) return add(heap, a, b);
  if (op == BinaryOp::kMultiply && is_repeatable(a) && b.is_integral()) {
    return repeat(heap, a, to_integer(b));
  }
  if (op == BinaryOp::kMultiply && is_repeatable(b) && a.is_integral()) {
    return repeat(heap, b, to_integer(a));
  }
  fail_types(op, a, b);
}

Value negative(const Value& value) {
  if (value.is(Kind::kUndefined)) fail_undefined(value);
  if (value.is(Kind::kFloat)) return Value::real_of(-value.real);
  if (!value.is_integral()) fail("bad operand type for unary -: '{}'", type_name(value));
  return integer_operation(BinaryOp::kSubtract, 0, to_integer(value));
}

Value positive(const Value& value) {
  if (value.is(Kind::kUndefined)) fail_undefined(value);
  if (value.is(Kind::kFloat)) return value;
  if (!value.is_integral()) fail("bad operand type for unary +: '{}'", type_name(value));
  return Value::integer_of(to_integer(value));
}

Value slice(Heap& heap, const Value& value, const Value& start, const Value& stop,
            const Value& step) {
  if (value.is(Kind::kUndefined)) fail_undefined(value);
  const bool is_list = value.is(Kind::kList) || value.is(Kind::kTuple);
  if (!is_list && !value.is_string() && !value.is(Kind::kRange)) {
    fail("'{}' object cannot be sliced", type_name(value));
  }
  if (value.is_string()) heap.step(1 + static_cast<int64_t>(value.text.size() / 64));
  const SliceBounds bounds = slice_bounds(length(value), start, stop, step);
  if (value.is_string()) return slice_string(heap, value, bounds);
  if (is_list) {
    heap.charge_bytes(bounds.count * static_cast<int64_t>(sizeof(Value)));
    std::vector<Value> items;
    for (int64_t i = 0; i < bounds.count; ++i) {
      items.push_back(value.list().items[static_cast<size_t>(bounds.start + i * bounds.step)]);
    }
    return heap.list(std::move(items), value.kind);
  }
  auto* range = heap.make<RangeObject>();
  const RangeObject& source = value.range();
  const auto at = [&](Int index) { return source.start + index * source.step; };
  Int parts[3] = {at(bounds.start), at(bounds.stop), bounds.step * source.step};
  for (Int part : parts) {
    if (part > INT64_MAX / 4 || part < INT64_MIN / 4) fail_overflow();
  }
  range->start = static_cast<int64_t>(parts[0]);
  range->stop = static_cast<int64_t>(parts[1]);
  range->step = static_cast<int64_t>(parts[2]);
  return Value::object_of(Kind::kRange, range);
}

}  // namespace ferry::text::jinja
