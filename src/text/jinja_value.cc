// See jinja_value.h: the heap, the containers and how values are made. Comparing them is in
// jinja_compare.cc.
#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/quote_name.h"
#include "text/jinja_unicode.h"

namespace ferry::text::jinja {
namespace {

constexpr size_t kChunkBytes = 64 << 10;
constexpr size_t kIndexedDictSize = 8;

}  // namespace

Value Value::none() {
  Value value;
  value.kind = Kind::kNone;
  return value;
}
Value Value::boolean_of(bool boolean) {
  Value value;
  value.kind = Kind::kBool;
  value.boolean = boolean;
  return value;
}
Value Value::integer_of(Int integer) {
  Value value;
  value.kind = Kind::kInt;
  value.integer = integer;
  return value;
}
Value Value::real_of(double real) {
  Value value;
  value.kind = Kind::kFloat;
  value.real = real;
  return value;
}
Value Value::string(std::string_view text, bool safe) {
  Value value;
  value.kind = Kind::kString;
  value.safe = safe;
  value.text = text;
  return value;
}
Value Value::undefined(std::string_view name) {
  Value value;
  value.text = name;
  return value;
}
Value Value::undefined_note(std::string_view note) {
  Value value;
  value.missing = Missing::kNote;
  value.text = note;
  return value;
}
Value Value::object_of(Kind kind, Object* object) {
  Value value;
  value.kind = kind;
  value.object = object;
  return value;
}
Value Value::function_of(int function) {
  Value value;
  value.kind = Kind::kFunction;
  value.function = function;
  return value;
}

ListObject& Value::list() const { return *static_cast<ListObject*>(object); }
DictObject& Value::dict() const { return *static_cast<DictObject*>(object); }
DictViewObject& Value::view() const { return *static_cast<DictViewObject*>(object); }
RangeObject& Value::range() const { return *static_cast<RangeObject*>(object); }
IteratorObject& Value::iterator() const { return *static_cast<IteratorObject*>(object); }
NamespaceObject& Value::ns() const { return *static_cast<NamespaceObject*>(object); }
MethodObject& Value::method() const { return *static_cast<MethodObject*>(object); }
CyclerObject& Value::cycler() const { return *static_cast<CyclerObject*>(object); }
JoinerObject& Value::joiner() const { return *static_cast<JoinerObject*>(object); }

void Heap::step(int64_t count) {
  steps_ += count;
  if (steps_ > limits_.max_steps) {
    fail("the template ran for more than {} steps", limits_.max_steps);
  }
}

void Heap::charge_bytes(int64_t bytes) {
  bytes_ += bytes;
  if (bytes_ > limits_.max_memory_bytes) {
    fail("the template needs more than {} bytes of memory", limits_.max_memory_bytes);
  }
  step(1 + bytes / 64);
}

std::string_view Heap::copy(std::string_view text) {
  if (text.empty()) return {};
  charge_bytes(static_cast<int64_t>(text.size()));
  if (text.size() > kChunkBytes / 4) {
    chunks_.push_back(std::make_unique<char[]>(text.size()));
    std::memcpy(chunks_.back().get(), text.data(), text.size());
    return {chunks_.back().get(), text.size()};
  }
  if (text.size() > chunk_left_) {
    chunks_.push_back(std::make_unique<char[]>(kChunkBytes));
    chunk_next_ = chunks_.back().get();
    chunk_left_ = kChunkBytes;
  }
  char* out = chunk_next_;
  std::memcpy(out, text.data(), text.size());
  chunk_next_ += text.size();
  chunk_left_ -= text.size();
  return {out, text.size()};
}

Value Heap::list(std::vector<Value> items, Kind kind) {
  charge_bytes(static_cast<int64_t>(items.size() * sizeof(Value)));
  auto* object = make<ListObject>();
  object->items = std::move(items);
  return Value::object_of(kind, object);
}

Value Heap::lazy(std::function<std::vector<Value>()> fill) {
  auto* object = make<IteratorObject>();
  object->fill = std::move(fill);
  return Value::object_of(Kind::kIterator, object);
}

Value Heap::iterator(std::vector<Value> items) {
  charge_bytes(static_cast<int64_t>(items.size() * sizeof(Value)));
  auto* object = make<IteratorObject>();
  object->items = std::move(items);
  return Value::object_of(Kind::kIterator, object);
}

size_t DictObject::slot_of(Heap& heap, const Value& key, uint64_t hash) const {
  if (entries.size() <= kIndexedDictSize) {
    for (size_t i = 0; i < entries.size(); ++i) {
      if (equal(heap, entries[i].first, key)) return i;
    }
    return entries.size();
  }
  const auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    if (equal(heap, entries[it->second].first, key)) return it->second;
  }
  return entries.size();
}

const Value* DictObject::find(Heap& heap, const Value& key) const {
  const size_t slot = slot_of(heap, key, hash_value(heap, key));
  return slot < entries.size() ? &entries[slot].second : nullptr;
}

const Value* DictObject::find(Heap& heap, std::string_view key) const {
  return find(heap, Value::string(key));
}

void DictObject::set(Heap& heap, const Value& key, const Value& value) {
  const uint64_t hash = hash_value(heap, key);
  const size_t slot = slot_of(heap, key, hash);
  if (slot < entries.size()) {
    entries[slot].second = value;
    return;
  }
  heap.charge_bytes(sizeof(entries[0]) + sizeof(index_));
  entries.emplace_back(key, value);
  if (entries.size() == kIndexedDictSize + 1) {
    for (size_t i = 0; i < entries.size(); ++i) {
      index_.emplace(hash_value(heap, entries[i].first), i);
    }
  } else if (entries.size() > kIndexedDictSize) {
    index_.emplace(hash, entries.size() - 1);
  }
}

void DictObject::clear() {
  entries.clear();
  index_.clear();
}

int64_t RangeObject::size() const {
  if (step > 0) return start < stop ? (stop - start - 1) / step + 1 : 0;
  return start > stop ? (start - stop - 1) / -step + 1 : 0;
}

bool is_iterable(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kDictView:
    case Kind::kRange:
    case Kind::kIterator:
    case Kind::kLoop: return true;
    default: return false;
  }
}

Iteration::Iteration(Heap& heap, const Value& source) : heap_(&heap), source_(source) {
  if (!is_iterable(source)) fail("'{}' object is not iterable", type_name(source));
  if (source.is(Kind::kLoop)) fail_unsupported("iterating over the loop variable");
  if (!source.is(Kind::kIterator) || !source.iterator().fill) return;
  IteratorObject& iterator = source.iterator();
  if (iterator.filling) fail("generator already executing");
  const DepthGuard guard(heap);
  iterator.filling = true;
  iterator.items = iterator.fill();
  heap.charge_bytes(static_cast<int64_t>(iterator.items.size() * sizeof(Value)));
  iterator.filling = false;
  iterator.fill = nullptr;
}

bool Iteration::next(Value* out) {
  heap_->step();
  const size_t at = position_;
  switch (source_.kind) {
    case Kind::kList:
    case Kind::kTuple:
      if (at >= source_.list().items.size()) return false;
      *out = source_.list().items[at];
      break;
    case Kind::kString: {
      if (at >= source_.text.size()) return false;
      next_code_point(source_.text, position_);
      *out = Value::string(source_.text.substr(at, position_ - at));
      return true;
    }
    case Kind::kDict:
      if (at >= source_.dict().entries.size()) return false;
      *out = source_.dict().entries[at].first;
      break;
    case Kind::kDictView: {
      const auto& entries = source_.view().dict->entries;
      if (at >= entries.size()) return false;
      const auto& [key, value] = entries[at];
      const ViewPart part = source_.view().part;
      *out = part == ViewPart::kKeys     ? key
             : part == ViewPart::kValues ? value
                                         : heap_->pair(key, value);
      break;
    }
    case Kind::kRange: {
      const RangeObject& range = source_.range();
      if (static_cast<int64_t>(at) >= range.size()) return false;
      *out = Value::integer_of(range.start + static_cast<Int>(at) * range.step);
      break;
    }
    case Kind::kIterator: {
      IteratorObject& iterator = source_.iterator();
      if (iterator.next >= iterator.items.size()) return false;
      *out = iterator.items[iterator.next++];
      return true;
    }
    default: return false;
  }
  ++position_;
  return true;
}

std::vector<Value> to_vector(Heap& heap, const Value& value) {
  // A list of all characters is 32 times the string: known before it is made.
  if (has_length(value)) heap.charge_bytes(length(value) * static_cast<int64_t>(sizeof(Value)));
  std::vector<Value> items;
  Iteration iteration(heap, value);
  for (Value item; iteration.next(&item);) items.push_back(item);
  return items;
}

std::string_view type_name(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined: return "Undefined";
    case Kind::kNone: return "NoneType";
    case Kind::kBool: return "bool";
    case Kind::kInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kString: return value.safe ? "Markup" : "str";
    case Kind::kList: return "list";
    case Kind::kTuple: return "tuple";
    case Kind::kDict: return "dict";
    case Kind::kDictView:
      return value.view().part == ViewPart::kKeys     ? "dict_keys"
             : value.view().part == ViewPart::kValues ? "dict_values"
                                                      : "dict_items";
    case Kind::kRange: return "range";
    case Kind::kIterator: return "generator";
    case Kind::kNamespace: return "Namespace";
    case Kind::kFunction: return "function";
    case Kind::kMethod: return "builtin_function_or_method";
    case Kind::kMacro: return "Macro";
    case Kind::kLoop: return "LoopContext";
    case Kind::kCycler: return "Cycler";
    case Kind::kJoiner: return "Joiner";
  }
  return "object";
}

std::string undefined_message(const Value& value) {
  Value owner;
  owner.kind = value.owner;
  const bool has_type = value.owner != Kind::kDictView;  // its name needs the object
  const std::string_view type = has_type ? type_name(owner) : "dict view";
  switch (value.missing) {
    case Missing::kVariable: return fmt::format("'{}' is undefined", value.text);
    case Missing::kAttribute:
      if (value.owner == Kind::kNone)
        return fmt::format("'None' has no attribute '{}'", value.text);
      return fmt::format("'{} object' has no attribute '{}'", type, value.text);
    case Missing::kElement: return fmt::format("{} object has no such element", type);
    case Missing::kUnsafe:
      return fmt::format("access to attribute '{}' of '{}' object is unsafe", value.text, type);
    case Missing::kNote: return std::string(value.text);
  }
  return "undefined value";
}

void fail_undefined(const Value& value) { fail("{}", undefined_message(value)); }

namespace {

Value dict_from_json(Heap& heap, const Json& json) {
  auto* dict = heap.make<DictObject>();
  for (const auto& [key, value] : json.items()) {
    if (!is_utf8(key)) fail("the context holds a key that is not valid UTF-8");
    dict->set(heap, Value::string(key), from_json(heap, value));
  }
  return Value::object_of(Kind::kDict, dict);
}

}  // namespace

Value from_json(Heap& heap, const Json& json) {
  const DepthGuard guard(heap);
  heap.step();
  switch (json.type()) {
    case Json::value_t::null: return Value::none();
    case Json::value_t::boolean: return Value::boolean_of(json.get<bool>());
    case Json::value_t::number_integer: return Value::integer_of(json.get<int64_t>());
    case Json::value_t::number_unsigned: return Value::integer_of(json.get<uint64_t>());
    case Json::value_t::number_float: return Value::real_of(json.get<double>());
    case Json::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      heap.step(1 + static_cast<int64_t>(text.size() / 64));
      if (!is_utf8(text)) fail("the context holds a string that is not valid UTF-8");
      return Value::string(text);
    }
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json) items.push_back(from_json(heap, item));
      return heap.list(std::move(items));
    }
    case Json::value_t::object: return dict_from_json(heap, json);
    default: fail("the context holds a value that is not JSON");
  }
}

}  // namespace ferry::text::jinja
