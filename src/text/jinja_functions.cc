// The functions a template can call, the methods of containers and loops, and argument matching.
#include <algorithm>
#include <ctime>
#include <iterator>

#include "base/quote_name.h"
#include "text/jinja_builtins.h"
#include "text/jinja_unicode.h"

namespace ferry::text::jinja {
namespace {

enum Function {
  kRange,
  kDict,
  kNamespace,
  kCycler,
  kJoiner,
  kRaiseException,
  kStrftimeNow,
  kLipsum,
};
constexpr std::string_view kFunctionNames[] = {
    "range", "dict", "namespace", "cycler", "joiner", "raise_exception", "strftime_now", "lipsum"};
constexpr int64_t kMaxRange = 100'000;  // as jinja2's sandbox has it

Value call_range(Interpreter& in, const Args& args) {
  if (!args.keywords.empty()) fail("range() takes no keyword arguments");
  const size_t count = args.positional.size();
  if (count < 1 || count > 3) fail("range() takes one to three arguments");
  int64_t parts[3] = {0, 0, 1};
  for (size_t i = 0; i < count; ++i) {
    const Value& value = args.positional[i];
    if (value.is(Kind::kUndefined)) fail_undefined(value);
    if (!value.is_integral()) fail("range() takes integers, not {}", type_name(value));
    // Far beyond what a range may hold, so that only empty ranges can have been cut.
    constexpr Int kFar = INT64_MAX / 4;
    parts[count == 1 ? 1 : i] = static_cast<int64_t>(std::clamp(to_integer(value), -kFar, kFar));
  }
  if (parts[2] == 0) fail("range() step must not be zero");
  auto* range = in.heap().make<RangeObject>();
  range->start = parts[0];
  range->stop = parts[1];
  range->step = parts[2];
  if (range->size() > kMaxRange) {
    fail("a range of {} items, the limit is {}", range->size(), kMaxRange);
  }
  return Value::object_of(Kind::kRange, range);
}

DictObject* make_dict(Interpreter& in, const Args& args) {
  Heap& heap = in.heap();
  if (args.positional.size() > 1) fail("dict() takes at most one positional argument");
  auto* dict = heap.make<DictObject>();
  if (!args.positional.empty()) {
    const Value& source = args.positional[0];
    if (source.is(Kind::kDict)) {
      for (const auto& [key, value] : source.dict().entries) dict->set(heap, key, value);
    } else {
      Iteration iteration(heap, source);
      for (Value item; iteration.next(&item);) {
        const std::vector<Value> pair = to_vector(heap, item);
        if (pair.size() != 2) fail("dict() needs pairs, found {} values", pair.size());
        dict->set(heap, pair[0], pair[1]);
      }
    }
  }
  for (const auto& [name, value] : args.keywords) dict->set(heap, Value::string(name), value);
  return dict;
}

Value call_strftime(Interpreter& in, const Args& args) {
  const Bound bound("strftime_now", args, {"format"}, 1);
  const std::string format(bound.string_or(0, {}));
  std::tm time{};
  if (in.options().local_time) {
    time = *in.options().local_time;
  } else {
    const std::time_t now = std::time(nullptr);
    localtime_r(&now, &time);
  }
  // Hugging Face formats a time without a zone: %Z and %z are empty.
  time.tm_zone = "";
  time.tm_isdst = -1;
  if (format.empty()) return Value::string({});
  if (format.size() > 1000 || format.find('\0') != std::string::npos) {
    fail("strftime_now: the format is longer than 1000 bytes or holds a zero byte");
  }
  // The longest expansion of one directive is far below this; a width such as %99999d is cut off.
  char text[16 << 10];
  const size_t size = std::strftime(text, sizeof text, format.c_str(), &time);
  if (!is_utf8({text, size})) fail("strftime_now: the result is not valid UTF-8");
  return in.heap().string({text, size});
}

Value call_cycler(Interpreter& in, const Args& args) {
  if (args.positional.empty()) fail("cycler() needs at least one item");
  if (!args.keywords.empty()) fail("cycler() takes no keyword arguments");
  auto* cycler = in.heap().make<CyclerObject>();
  cycler->items = args.positional;
  return Value::object_of(Kind::kCycler, cycler);
}

Value list_method(Interpreter& in, const Value& self, std::string_view name, const Args& args) {
  Heap& heap = in.heap();
  std::vector<Value>& items = self.list().items;
  if (name == "copy") {
    const Bound bound(name, args, {});
    return heap.list(items);
  }
  if (name == "clear") {
    const Bound bound(name, args, {});
    items.clear();
    return Value::none();
  }
  if (name == "pop") {
    const Bound bound(name, args, {"index"});
    if (items.empty()) fail("pop from an empty list");
    const auto size = static_cast<int64_t>(items.size());
    const int64_t raw = bound.integer_or(0, -1);
    const int64_t index = raw < 0 ? raw + size : raw;
    if (index < 0 || index >= size) fail("pop index out of range");
    const Value item = items[static_cast<size_t>(index)];
    heap.step(1 + (size - index) / 16);
    items.erase(items.begin() + index);
    return item;
  }
  const Bound bound(name, args, {"value", "start", "stop"}, 1);
  if (bound.is_given(1)) fail_unsupported("index() with a start");
  Int count = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const bool same = identical(items[i], bound[0]) || equal(heap, items[i], bound[0]);
    if (same && name == "index") return Value::integer_of(static_cast<Int>(i));
    count += same ? 1 : 0;
  }
  if (name == "index") fail("the value is not in the list");
  return Value::integer_of(count);
}

Value range_method(Interpreter& in, const Value& self, std::string_view name, const Args& args) {
  const Value items = in.heap().list(to_vector(in.heap(), self), Kind::kTuple);
  return list_method(in, items, name, args);
}

Value dict_method(Interpreter& in, const Value& self, std::string_view name, const Args& args) {
  DictObject& dict = self.dict();
  if (name == "get") {
    const Bound bound(name, args, {"key", "default"}, 1);
    const Value* value = dict.find(in.heap(), bound[0]);
    return value != nullptr ? *value : bound.value_or(1, Value::none());
  }
  const Bound bound(name, args, {});
  if (name == "copy") {
    auto* copy = in.heap().make<DictObject>();
    for (const auto& [key, value] : dict.entries) copy->set(in.heap(), key, value);
    return Value::object_of(Kind::kDict, copy);
  }
  auto* view = in.heap().make<DictViewObject>();
  view->dict = &dict;
  view->part = name == "keys"     ? ViewPart::kKeys
               : name == "values" ? ViewPart::kValues
                                  : ViewPart::kItems;
  return Value::object_of(Kind::kDictView, view);
}

Value loop_method(Interpreter& in, LoopObject& loop, std::string_view name, const Args& args) {
  if (!args.keywords.empty()) fail("loop.{}() takes no keyword arguments", name);
  if (name == "cycle") {
    if (args.positional.empty()) fail("no items for cycling given");
    const auto count = static_cast<int64_t>(args.positional.size());
    return args.positional[static_cast<size_t>(loop.index0 % count)];
  }
  const Value now = in.heap().list(args.positional, Kind::kTuple);
  const bool changed = !loop.has_changed || !equal(in.heap(), loop.changed, now);
  loop.changed = now;
  loop.has_changed = true;
  return Value::boolean_of(changed);
}

}  // namespace

Bound::Bound(std::string_view what, const Args& args, std::initializer_list<std::string_view> names,
             size_t num_required)
    : what_(what), values_(names.size()) {
  if (args.positional.size() > names.size()) {
    fail("{} takes at most {} arguments, found {}", what, names.size(), args.positional.size());
  }
  for (size_t i = 0; i < args.positional.size(); ++i) values_[i] = args.positional[i];
  for (const auto& [name, value] : args.keywords) {
    const auto* it = std::find(names.begin(), names.end(), name);
    if (it == names.end()) fail("{} takes no argument named '{}'", what, name);
    std::optional<Value>& slot = values_[static_cast<size_t>(it - names.begin())];
    if (slot) fail("{}: argument '{}' is given twice", what, name);
    slot = value;
  }
  for (size_t i = 0; i < num_required; ++i) {
    if (!values_[i]) fail("{} needs the argument '{}'", what, *(names.begin() + i));
  }
}

int64_t Bound::integer_or(size_t i, int64_t fallback) const {
  if (!is_given(i)) return fallback;
  const Value& value = *values_[i];
  if (value.is(Kind::kUndefined)) fail_undefined(value);
  if (!value.is_integral()) fail("{}: expected an integer, found {}", what_, type_name(value));
  const Int number = to_integer(value);
  if (number > INT32_MAX || number < INT32_MIN) fail("{}: the number is too large", what_);
  return static_cast<int64_t>(number);
}

std::string_view Bound::string_or(size_t i, std::string_view fallback) const {
  if (!is_given(i)) return fallback;
  const Value& value = *values_[i];
  if (!value.is_string()) fail("{}: expected a string, found {}", what_, type_name(value));
  return value.text;
}

int find_function(std::string_view name) {
  const auto* it = std::find(std::begin(kFunctionNames), std::end(kFunctionNames), name);
  return it == std::end(kFunctionNames) ? -1 : static_cast<int>(it - std::begin(kFunctionNames));
}

Value call_function(Interpreter& interpreter, int function, const Args& args) {
  Heap& heap = interpreter.heap();
  switch (static_cast<Function>(function)) {
    case kRange: return call_range(interpreter, args);
    case kDict: return Value::object_of(Kind::kDict, make_dict(interpreter, args));
    case kNamespace: {
      auto* ns = heap.make<NamespaceObject>();
      ns->attributes = make_dict(interpreter, args);
      return Value::object_of(Kind::kNamespace, ns);
    }
    case kCycler: return call_cycler(interpreter, args);
    case kJoiner: {
      const Bound bound("joiner", args, {"sep"});
      auto* joiner = heap.make<JoinerObject>();
      joiner->separator = bound.value_or(0, Value::string(", "));
      return Value::object_of(Kind::kJoiner, joiner);
    }
    case kRaiseException: {
      const Bound bound("raise_exception", args, {"message"}, 1);
      fail("{}", interpreter.text_of(bound[0]));
    }
    case kStrftimeNow: return call_strftime(interpreter, args);
    case kLipsum: fail_unsupported("the function 'lipsum'");
  }
  return {};
}

Value call_method(Interpreter& interpreter, const MethodObject& method, const Args& args) {
  const Value& self = method.self;
  switch (self.kind) {
    case Kind::kString: return call_string_method(interpreter, self, method.name, args);
    case Kind::kList:
    case Kind::kTuple: return list_method(interpreter, self, method.name, args);
    case Kind::kRange: return range_method(interpreter, self, method.name, args);
    case Kind::kDict: return dict_method(interpreter, self, method.name, args);
    case Kind::kLoop: return loop_method(interpreter, self.loop(), method.name, args);
    case Kind::kCycler: {
      const Bound bound(method.name, args, {});
      CyclerObject& cycler = self.cycler();
      if (method.name == "reset") {
        cycler.next = 0;
        return Value::none();
      }
      const Value item = cycler.items[cycler.next];
      cycler.next = (cycler.next + 1) % cycler.items.size();
      return item;
    }
    default: fail("'{}' object is not callable", type_name(self));
  }
}

}  // namespace ferry::text::jinja
