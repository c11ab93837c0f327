// The tests behind `is`.
#include <algorithm>
#include <iterator>

#include "text/jinja_builtins.h"
#include "text/jinja_unicode.h"

namespace ferry::text::jinja {
namespace {

using Test = bool (*)(Interpreter&, const Value&, const Args&);

template <Kind kKind>
bool is_kind(Interpreter&, const Value& value, const Args& args) {
  const Bound bound("a test of a type", args, {});
  return value.is(kKind);
}

template <bool kWanted>
bool is_boolean_value(Interpreter&, const Value& value, const Args& args) {
  const Bound bound(kWanted ? "true" : "false", args, {});
  return value.is(Kind::kBool) && value.boolean == kWanted;
}

bool is_defined(Interpreter&, const Value& value, const Args& args) {
  const Bound bound("defined", args, {});
  return !value.is(Kind::kUndefined);
}

bool is_number_value(Interpreter&, const Value& value, const Args& args) {
  const Bound bound("number", args, {});
  return value.is_number();
}

bool is_iterable_value(Interpreter&, const Value& value, const Args& args) {
  const Bound bound("iterable", args, {});
  return is_iterable(value);
}

bool is_sequence(Interpreter&, const Value& value, const Args& args) {
  const Bound bound("sequence", args, {});
  return has_length(value) && !value.is(Kind::kDictView) && !value.is(Kind::kLoop);
}

bool is_callable(Interpreter&, const Value& value, const Args& args) {
  const Bound bound("callable", args, {});
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kFunction:
    case Kind::kMethod:
    case Kind::kMacro:
    case Kind::kLoop:
    case Kind::kJoiner: return true;
    default: return false;
  }
}

bool is_escaped(Interpreter&, const Value& value, const Args& args) {
  const Bound bound("escaped", args, {});
  return value.is_string() && value.safe;
}

bool is_same_as(Interpreter&, const Value& value, const Args& args) {
  const Bound bound("sameas", args, {"other"}, 1);
  return identical(value, bound[0]);
}

// value % n == wanted
bool has_remainder(Interpreter& in, const Value& value, const Value& n, Int wanted) {
  const Value rest = binary_operation(in, BinaryOp::kModulo, value, n);
  return equal(in.heap(), rest, Value::integer_of(wanted));
}
bool is_odd(Interpreter& in, const Value& value, const Args& args) {
  const Bound bound("odd", args, {});
  return has_remainder(in, value, Value::integer_of(2), 1);
}
bool is_even(Interpreter& in, const Value& value, const Args& args) {
  const Bound bound("even", args, {});
  return has_remainder(in, value, Value::integer_of(2), 0);
}
bool is_divisible(Interpreter& in, const Value& value, const Args& args) {
  const Bound bound("divisibleby", args, {"num"}, 1);
  return has_remainder(in, value, bound[0], 0);
}

template <bool kUpper>
bool has_case(Interpreter& in, const Value& value, const Args& args) {
  const Bound bound(kUpper ? "upper" : "lower", args, {});
  const Value text = Value::string(in.text_view(value));
  return truthy(call_string_method(in, text, kUpper ? "isupper" : "islower", {}));
}

template <bool kEqual>
bool is_equal(Interpreter& in, const Value& value, const Args& args) {
  const Bound bound("eq", args, {"other"}, 1);
  return equal(in.heap(), value, bound[0]) == kEqual;
}

template <Order kOrder>
bool is_ordered(Interpreter& in, const Value& value, const Args& args) {
  const Bound bound("a comparison", args, {"other"}, 1);
  return compare(in.heap(), kOrder, value, bound[0]);
}

bool is_in(Interpreter& in, const Value& value, const Args& args) {
  const Bound bound("in", args, {"seq"}, 1);
  return contains(in.heap(), bound[0], value);
}

bool names_filter(Interpreter& in, const Value& value, const Args& args) {
  const Bound bound("filter", args, {});
  hash_value(in.heap(), value);  // refuses what cannot be a key
  return value.is_string() && is_filter(value.text);
}
bool names_test(Interpreter& in, const Value& value, const Args& args) {
  const Bound bound("test", args, {});
  hash_value(in.heap(), value);
  return value.is_string() && is_test(value.text);
}

struct TestEntry {
  std::string_view name;
  Test test;
};

constexpr TestEntry kTests[] = {
    {"boolean", is_kind<Kind::kBool>},
    {"callable", is_callable},
    {"defined", is_defined},
    {"divisibleby", is_divisible},
    {"eq", is_equal<true>},
    {"equalto", is_equal<true>},
    {"==", is_equal<true>},
    {"escaped", is_escaped},
    {"even", is_even},
    {"false", is_boolean_value<false>},
    {"filter", names_filter},
    {"float", is_kind<Kind::kFloat>},
    {"ge", is_ordered<Order::kGreaterEqual>},
    {">=", is_ordered<Order::kGreaterEqual>},
    {"greaterthan", is_ordered<Order::kGreater>},
    {"gt", is_ordered<Order::kGreater>},
    {">", is_ordered<Order::kGreater>},
    {"in", is_in},
    {"integer", is_kind<Kind::kInt>},
    {"iterable", is_iterable_value},
    {"le", is_ordered<Order::kLessEqual>},
    {"<=", is_ordered<Order::kLessEqual>},
    {"lessthan", is_ordered<Order::kLess>},
    {"lower", has_case<false>},
    {"lt", is_ordered<Order::kLess>},
    {"<", is_ordered<Order::kLess>},
    {"mapping", is_kind<Kind::kDict>},
    {"ne", is_equal<false>},
    {"!=", is_equal<false>},
    {"none", is_kind<Kind::kNone>},
    {"number", is_number_value},
    {"odd", is_odd},
    {"sameas", is_same_as},
    {"sequence", is_sequence},
    {"string", is_kind<Kind::kString>},
    {"test", names_test},
    {"true", is_boolean_value<true>},
    {"undefined", is_kind<Kind::kUndefined>},
    {"upper", has_case<true>},
};

Test find_test(std::string_view name) {
  const auto* it = std::find_if(std::begin(kTests), std::end(kTests),
                                [name](const TestEntry& entry) { return entry.name == name; });
  return it == std::end(kTests) ? nullptr : it->test;
}

}  // namespace

bool is_test(std::string_view name) { return find_test(name) != nullptr; }

bool Interpreter::apply_test(std::string_view name, const Value& subject, const Args& args) {
  const Test test = find_test(name);
  if (test == nullptr) fail("no test named '{}'", name);
  return test(*this, subject, args);
}

}  // namespace ferry::text::jinja
