// x.name and x[key]: an attribute that Python's own objects have comes first or last, an element
// of the mapping or sequence otherwise. What jinja2's immutable sandbox hides is undefined here.
#include <algorithm>
#include <iterator>

#include "text/jinja_builtins.h"
#include "text/jinja_eval.h"
#include "text/jinja_unicode.h"

namespace ferry::text::jinja {
namespace {

template <size_t N>
bool is_one_of(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

constexpr std::string_view kDictMethods[] = {"copy", "get", "items", "keys", "values"};
constexpr std::string_view kDictMutators[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kListMethods[] = {"clear", "copy", "count", "index", "pop"};
constexpr std::string_view kListMutators[] = {"append", "extend",  "insert",
                                              "remove", "reverse", "sort"};
constexpr std::string_view kTupleMethods[] = {"count", "index"};
// Attributes of Python objects that no chat template has a use for; named rather than guessed.
constexpr std::string_view kUnsupported[] = {"fromkeys",
                                             "mapping",
                                             "isdisjoint",
                                             "real",
                                             "imag",
                                             "numerator",
                                             "denominator",
                                             "conjugate",
                                             "bit_length",
                                             "bit_count",
                                             "to_bytes",
                                             "from_bytes",
                                             "as_integer_ratio",
                                             "is_integer",
                                             "fromhex",
                                             "hex",
                                             "send",
                                             "throw",
                                             "close",
                                             "gi_code",
                                             "gi_frame",
                                             "gi_running"};

bool hides_attribute(std::string_view name) {
  return name.size() > 4 && name.substr(0, 2) == "__" && name.substr(name.size() - 2) == "__";
}

// Whether kUnsupported's `name` is one of this type's attributes.
bool type_has(const Value& object, std::string_view name) {
  if (name == "fromkeys") return object.is(Kind::kDict);
  if (name == "mapping" || name == "isdisjoint") return object.is(Kind::kDictView);
  if (name == "send" || name == "throw" || name == "close" || name.substr(0, 3) == "gi_") {
    return object.is(Kind::kIterator);
  }
  const bool of_float = name == "is_integer" || name == "fromhex" || name == "hex";
  const bool of_int = name == "numerator" || name == "denominator" || name == "bit_length" ||
                      name == "bit_count" || name == "to_bytes" || name == "from_bytes";
  if (of_float) return object.is(Kind::kFloat);
  if (of_int) return object.is_integral();
  return object.is_number();
}

}  // namespace

Value Interpreter::method_of(const Value& self, std::string_view name) {
  auto* method = heap_.make<MethodObject>();
  method->self = self;
  method->name = name;
  return Value::object_of(Kind::kMethod, method);
}

bool Interpreter::find_loop_attribute(LoopObject& loop, const Value& self, std::string_view name,
                                      Value* out) {
  if (name == "index") {
    *out = Value::integer_of(loop.index0 + 1);
  } else if (name == "index0") {
    *out = Value::integer_of(loop.index0);
  } else if (name == "revindex") {
    *out = Value::integer_of(loop.length() - loop.index0);
  } else if (name == "revindex0") {
    *out = Value::integer_of(loop.length() - loop.index0 - 1);
  } else if (name == "first") {
    *out = Value::boolean_of(loop.index0 == 0);
  } else if (name == "last") {
    *out = Value::boolean_of(!loop.peek());
  } else if (name == "length") {
    *out = Value::integer_of(loop.length());
  } else if (name == "depth") {
    *out = Value::integer_of(loop.depth0 + 1);
  } else if (name == "depth0") {
    *out = Value::integer_of(loop.depth0);
  } else if (name == "previtem") {
    *out = loop.index0 == 0 ? Value::undefined_note("there is no previous item") : loop.before;
  } else if (name == "nextitem") {
    *out = loop.peek() ? loop.after : Value::undefined_note("there is no next item");
  } else if (name == "cycle" || name == "changed") {
    *out = method_of(self, name);
  } else {
    return false;
  }
  return true;
}

bool Interpreter::find_macro_attribute(const MacroObject& macro, std::string_view name,
                                       Value* out) {
  const MacroDefinition& definition = *macro.definition;
  if (name == "name") {
    *out = definition.symbol < 0 ? Value::none() : Value::string(definition.name);
  } else if (name == "arguments") {
    std::vector<Value> names;
    for (const Parameter& parameter : definition.parameters) {
      names.push_back(Value::string(parameter.name));
    }
    *out = heap_.list(std::move(names), Kind::kTuple);
  } else if (name == "catch_kwargs") {
    *out = Value::boolean_of(definition.uses_kwargs);
  } else if (name == "catch_varargs") {
    *out = Value::boolean_of(definition.uses_varargs);
  } else if (name == "caller") {
    *out = Value::boolean_of(definition.uses_caller);
  } else {
    return false;
  }
  return true;
}

// What getattr() of Python would give. False when there is no such attribute.
bool Interpreter::find_python_attribute(const Value& object, std::string_view name, Value* out) {
  const auto unsafe = [&] {
    *out = Value::undefined(name);
    out->missing = Missing::kUnsafe;
    out->owner = object.kind;
    return true;
  };
  const auto method = [&](bool exists) {
    if (exists) *out = method_of(object, name);
    return exists;
  };
  if (object.is(Kind::kNamespace)) {
    const Value* value = object.ns().attributes->find(heap_, name);
    if (value != nullptr) *out = *value;
    return value != nullptr;
  }
  if (hides_attribute(name)) return unsafe();
  if (is_one_of(kUnsupported, name) && type_has(object, name)) {
    fail_unsupported("the attribute '{}' of {}", name, type_name(object));
  }
  switch (object.kind) {
    case Kind::kString: return method(is_string_method(name));
    case Kind::kDict:
      if (is_one_of(kDictMutators, name)) return unsafe();
      return method(is_one_of(kDictMethods, name));
    case Kind::kList:
      if (is_one_of(kListMutators, name)) return unsafe();
      return method(is_one_of(kListMethods, name));
    case Kind::kTuple:
      if ((name == "grouper" || name == "list") &&
          dynamic_cast<const GroupObject*>(object.object) != nullptr) {
        *out = object.list().items[name == "list" ? 1 : 0];
        return true;
      }
      return method(is_one_of(kTupleMethods, name));
    case Kind::kRange:
      if (name == "start") *out = Value::integer_of(object.range().start);
      if (name == "stop") *out = Value::integer_of(object.range().stop);
      if (name == "step") *out = Value::integer_of(object.range().step);
      return name == "start" || name == "stop" || name == "step" ||
             method(is_one_of(kTupleMethods, name));
    case Kind::kLoop: return find_loop_attribute(object.loop(), object, name, out);
    case Kind::kMacro: return find_macro_attribute(object.macro(), name, out);
    case Kind::kCycler:
      if (name == "current") {
        *out = object.cycler().items[object.cycler().next];
        return true;
      }
      return method(name == "next" || name == "reset");
    default: return false;
  }
}

Value Interpreter::get_attribute(const Value& object, std::string_view name) {
  if (object.is(Kind::kUndefined)) fail_undefined(object);
  Value found;
  if (find_python_attribute(object, name, &found)) return found;
  if (object.is(Kind::kDict)) {
    if (const Value* value = object.dict().find(heap_, name)) return *value;
  }
  Value missing = Value::undefined(name);
  missing.missing = Missing::kAttribute;
  missing.owner = object.kind;
  return missing;
}

Value Interpreter::get_element(const Value& object, const Value& key) {
  if (object.is(Kind::kUndefined)) fail_undefined(object);
  if (object.is(Kind::kDict)) {
    const bool hashable = !key.is(Kind::kList) && !key.is(Kind::kDict);
    const Value* value = hashable ? object.dict().find(heap_, key) : nullptr;
    if (value != nullptr) return *value;
  } else if (key.is_integral() && has_length(object) && !object.is(Kind::kDictView) &&
             !object.is(Kind::kLoop)) {
    if (object.is_string()) heap_.step(1 + static_cast<int64_t>(object.text.size() / 64));
    const Int size = length(object);
    Int index = to_integer(key);
    if (index < 0) index += size;
    if (index >= 0 && index < size) {
      const auto at = static_cast<size_t>(index);
      if (object.is(Kind::kRange)) {
        return Value::integer_of(object.range().start + index * object.range().step);
      }
      if (!object.is_string()) return object.list().items[at];
      const size_t begin = code_point_offset(object.text, at);
      size_t end = begin;
      next_code_point(object.text, end);
      return Value::string(object.text.substr(begin, end - begin), object.safe);
    }
  }
  Value found;
  if (key.is_string() && find_python_attribute(object, key.text, &found)) return found;
  Value missing = Value::undefined(key.is_string() ? key.text : std::string_view());
  missing.missing = key.is_string() ? Missing::kAttribute : Missing::kElement;
  missing.owner = object.kind;
  return missing;
}

Value Interpreter::call(const Value& callee, const Args& args) {
  heap_.step();
  switch (callee.kind) {
    case Kind::kUndefined: fail_undefined(callee);
    case Kind::kMacro: return call_macro(callee.macro(), args);
    case Kind::kLoop: return call_loop(callee.loop(), args);
    case Kind::kFunction: return call_function(*this, callee.function, args);
    case Kind::kMethod: return call_method(*this, callee.method(), args);
    case Kind::kJoiner: {
      JoinerObject& joiner = callee.joiner();
      if (!args.positional.empty() || !args.keywords.empty()) fail("a joiner takes no arguments");
      if (joiner.used) return joiner.separator;
      joiner.used = true;
      return Value::string({});
    }
    default: fail("'{}' object is not callable", type_name(callee));
  }
}

}  // namespace ferry::text::jinja
