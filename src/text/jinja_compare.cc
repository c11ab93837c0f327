// Truth, length, equality, order, hashing and `in`, with Python's rules for each pair of types.
#include <algorithm>
#include <cmath>

#include "text/jinja_eval.h"
#include "text/jinja_unicode.h"
#include "text/jinja_value.h"

namespace ferry::text::jinja {
namespace {

// -1, 0, 1, or 2 when not ordered (NaN). Exact, as Python compares int with float.
int compare_numbers(const Value& a, const Value& b) {
  if (!a.is(Kind::kFloat) && !b.is(Kind::kFloat)) {
    const Int x = to_integer(a), y = to_integer(b);
    return x < y ? -1 : x > y ? 1 : 0;
  }
  if (a.is(Kind::kFloat) && b.is(Kind::kFloat)) {
    if (std::isnan(a.real) || std::isnan(b.real)) return 2;
    return a.real < b.real ? -1 : a.real > b.real ? 1 : 0;
  }
  if (a.is(Kind::kFloat)) {
    const int swapped = compare_numbers(b, a);
    return swapped == 2 ? 2 : -swapped;
  }
  const double y = b.real;
  if (std::isnan(y)) return 2;
  if (y >= 0x1p127) return -1;
  if (y < -0x1p127) return 1;
  const Int x = to_integer(a);
  const double whole = std::floor(y);
  const auto floor_y = static_cast<Int>(whole);
  if (x != floor_y) return x < floor_y ? -1 : 1;
  return y > whole ? -1 : 0;
}

bool equal_dicts(Heap& heap, const DictObject& a, const DictObject& b) {
  if (a.entries.size() != b.entries.size()) return false;
  return std::all_of(a.entries.begin(), a.entries.end(), [&](const auto& entry) {
    const Value* other = b.find(heap, entry.first);
    return other != nullptr &&
           (identical(entry.second, *other) || equal(heap, entry.second, *other));
  });
}

bool equal_ranges(const RangeObject& a, const RangeObject& b) {
  const int64_t size = a.size();
  if (size != b.size()) return false;
  return size == 0 || (a.start == b.start && (size == 1 || a.step == b.step));
}

std::string_view order_sign(Order order) {
  constexpr std::string_view kSigns[] = {"<", "<=", ">", ">="};
  return kSigns[static_cast<int>(order)];
}

bool holds(Order order, int sign) {
  if (sign == 2) return false;
  switch (order) {
    case Order::kLess: return sign < 0;
    case Order::kLessEqual: return sign <= 0;
    case Order::kGreater: return sign > 0;
    case Order::kGreaterEqual: return sign >= 0;
  }
  return false;
}

bool compare_lists(Heap& heap, Order order, const ListObject& a, const ListObject& b) {
  const size_t common = std::min(a.items.size(), b.items.size());
  for (size_t i = 0; i < common; ++i) {
    if (identical(a.items[i], b.items[i]) || equal(heap, a.items[i], b.items[i])) continue;
    return compare(heap, order, a.items[i], b.items[i]);
  }
  const auto x = a.items.size(), y = b.items.size();
  return holds(order, x < y ? -1 : x > y ? 1 : 0);
}

bool range_contains(const RangeObject& range, const Value& item) {
  if (!item.is_number()) return false;
  Int wanted;
  if (item.is(Kind::kFloat)) {
    if (std::floor(item.real) != item.real || std::abs(item.real) >= 0x1p63) return false;
    wanted = static_cast<Int>(item.real);
  } else {
    wanted = to_integer(item);
  }
  const Int offset = wanted - range.start;
  if (offset % range.step != 0) return false;
  const Int index = offset / range.step;
  return index >= 0 && index < range.size();
}

}  // namespace

double to_double(const Value& number) {
  if (number.is(Kind::kFloat)) return number.real;
  return static_cast<double>(to_integer(number));
}

Int to_integer(const Value& number) {
  return number.is(Kind::kBool) ? static_cast<Int>(number.boolean) : number.integer;
}

std::string int_to_string(Int value) { return fmt::format("{}", value); }

bool truthy(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kNone: return false;
    case Kind::kBool: return value.boolean;
    case Kind::kInt: return value.integer != 0;
    case Kind::kFloat: return value.real != 0.0;
    case Kind::kString: return !value.text.empty();
    default: return !has_length(value) || length(value) > 0;
  }
}

bool has_length(const Value& value) { return is_iterable(value) && !value.is(Kind::kIterator); }

int64_t length(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined: return 0;
    case Kind::kString: return static_cast<int64_t>(code_point_length(value.text));
    case Kind::kList:
    case Kind::kTuple: return static_cast<int64_t>(value.list().items.size());
    case Kind::kDict: return static_cast<int64_t>(value.dict().entries.size());
    case Kind::kDictView: return static_cast<int64_t>(value.view().dict->entries.size());
    case Kind::kRange: return value.range().size();
    case Kind::kLoop: return value.loop().length();
    default: fail("object of type '{}' has no len()", type_name(value));
  }
}

bool identical(const Value& a, const Value& b) {
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kNone: return true;
    case Kind::kUndefined: return false;
    case Kind::kBool: return a.boolean == b.boolean;
    // CPython keeps one object for each small integer and literal; larger ones are not promised.
    case Kind::kInt: return a.integer == b.integer;
    case Kind::kFloat: return false;
    case Kind::kString: return a.text.data() == b.text.data() && a.text.size() == b.text.size();
    case Kind::kFunction: return a.function == b.function;
    default: return a.object == b.object;
  }
}

bool equal(Heap& heap, const Value& a, const Value& b) {
  const DepthGuard guard(heap);
  heap.step();
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kUndefined:
    case Kind::kNone: return true;
    case Kind::kString:
      heap.step(static_cast<int64_t>(std::min(a.text.size(), b.text.size()) / 64));
      return a.text == b.text;
    case Kind::kList:
    case Kind::kTuple: {
      const auto &x = a.list().items, &y = b.list().items;
      if (x.size() != y.size()) return false;
      for (size_t i = 0; i < x.size(); ++i) {
        if (!identical(x[i], y[i]) && !equal(heap, x[i], y[i])) return false;
      }
      return true;
    }
    case Kind::kDict: return equal_dicts(heap, a.dict(), b.dict());
    case Kind::kRange: return equal_ranges(a.range(), b.range());
    case Kind::kDictView:
      if (a.object == b.object) return true;
      fail_unsupported("comparing the results of .keys(), .values() or .items()");
    default: return identical(a, b);
  }
}

uint64_t hash_value(Heap& heap, const Value& value) {
  const DepthGuard guard(heap);
  heap.step();
  switch (value.kind) {
    case Kind::kString:
      heap.step(static_cast<int64_t>(value.text.size() / 64));
      return std::hash<std::string_view>()(value.text);
    case Kind::kFloat:
      if (std::floor(value.real) != value.real || std::abs(value.real) >= 0x1p126) {
        return std::hash<double>()(value.real);
      }
      return std::hash<int64_t>()(static_cast<int64_t>(static_cast<Int>(value.real)));
    case Kind::kBool:
    case Kind::kInt: return std::hash<int64_t>()(static_cast<int64_t>(to_integer(value)));
    case Kind::kUndefined:
    case Kind::kNone: return static_cast<uint64_t>(value.kind);
    case Kind::kTuple: {
      uint64_t hash = 0x9E3779B97F4A7C15;
      for (const Value& item : value.list().items) {
        hash = (hash ^ hash_value(heap, item)) * 0x100000001B3;
      }
      return hash;
    }
    case Kind::kRange: return static_cast<uint64_t>(value.range().size());
    case Kind::kList:
    case Kind::kDict:
    case Kind::kDictView: fail("unhashable type: '{}'", type_name(value));
    case Kind::kFunction: return static_cast<uint64_t>(value.function);
    default: return std::hash<const Object*>()(value.object);
  }
}

bool compare(Heap& heap, Order order, const Value& a, const Value& b) {
  const DepthGuard guard(heap);
  heap.step();
  if (a.is(Kind::kUndefined)) fail_undefined(a);
  if (b.is(Kind::kUndefined)) fail_undefined(b);
  if (a.is_number() && b.is_number()) return holds(order, compare_numbers(a, b));
  if (a.is_string() && b.is_string()) {
    heap.step(static_cast<int64_t>(std::min(a.text.size(), b.text.size()) / 64));
    const int sign = a.text.compare(b.text);  // the order of bytes is that of code points
    return holds(order, sign < 0 ? -1 : sign > 0 ? 1 : 0);
  }
  if (a.kind == b.kind && (a.is(Kind::kList) || a.is(Kind::kTuple))) {
    return compare_lists(heap, order, a.list(), b.list());
  }
  fail("'{}' not supported between instances of '{}' and '{}'", order_sign(order), type_name(a),
       type_name(b));
}

bool contains(Heap& heap, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) {
      fail("'in <string>' requires string as left operand, not {}", type_name(item));
    }
    heap.step(1 + static_cast<int64_t>(container.text.size() / 64));
    return container.text.find(item.text) != std::string_view::npos;
  }
  if (container.is(Kind::kDict)) return container.dict().find(heap, item) != nullptr;
  if (container.is(Kind::kDictView) && container.view().part == ViewPart::kKeys) {
    return container.view().dict->find(heap, item) != nullptr;
  }
  if (container.is(Kind::kRange)) return range_contains(container.range(), item);
  if (!is_iterable(container)) fail("argument of type '{}' is not iterable", type_name(container));
  Iteration iteration(heap, container);
  for (Value element; iteration.next(&element);) {
    if (identical(element, item) || equal(heap, element, item)) return true;
  }
  return false;
}

}  // namespace ferry::text::jinja
