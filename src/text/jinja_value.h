// The values a chat template computes with: Python's, as far as templates see them.
//
// A Value is 32 bytes and trivially copyable. Strings are views and containers are pointers into
// the Heap of one rendering, which frees everything at once: no reference counts, no cycles, no
// recursive destructors, and one place that counts memory and steps. Integers have 128 bits and
// every operation on them is checked; Python's are unbounded, so more is an error, never a wrap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/jinja_error.h"

namespace ferry::text::jinja {

__extension__ typedef __int128 Int;
__extension__ typedef unsigned __int128 UnsignedInt;

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kDictView,  // d.keys(), d.values(), d.items()
  kRange,
  kIterator,  // what Python calls a generator or an iterator: read once
  kNamespace,
  kFunction,  // range, dict, namespace, raise_exception, ...
  kMethod,    // "abc".upper
  kMacro,
  kLoop,
  kCycler,
  kJoiner,
};

// What an undefined value was meant to be; it makes the message when it is used.
enum class Missing : uint8_t { kVariable, kAttribute, kElement, kUnsafe, kNote };

struct Object {
  virtual ~Object() = default;
};
struct ListObject;
struct DictObject;
struct DictViewObject;
struct RangeObject;
struct IteratorObject;
struct NamespaceObject;
struct MethodObject;
struct MacroObject;
struct LoopObject;
struct CyclerObject;
struct JoinerObject;

struct Value {
  Kind kind = Kind::kUndefined;
  bool safe = false;  // a string marked by |safe: `+` escapes what is joined to it
  Missing missing = Missing::kVariable;
  Kind owner = Kind::kNone;  // of an undefined attribute: what it was asked of
  union {
    bool boolean;
    Int integer;
    double real;
    std::string_view text;  // strings; the name or note of an undefined value
    Object* object;
    int function;
  };

  Value() : text() {}
  static Value none();
  static Value boolean_of(bool value);
  static Value integer_of(Int value);
  static Value real_of(double value);
  static Value string(std::string_view text, bool safe = false);  // the view must outlive it
  static Value undefined(std::string_view name);
  static Value undefined_note(std::string_view note);
  static Value object_of(Kind kind, Object* object);
  static Value function_of(int function);

  bool is(Kind k) const { return kind == k; }
  bool is_string() const { return kind == Kind::kString; }
  bool is_number() const { return kind == Kind::kInt || kind == Kind::kFloat || is(Kind::kBool); }
  bool is_integral() const { return kind == Kind::kInt || kind == Kind::kBool; }

  ListObject& list() const;  // REQUIRES: kList or kTuple
  DictObject& dict() const;
  DictViewObject& view() const;
  RangeObject& range() const;
  IteratorObject& iterator() const;
  NamespaceObject& ns() const;
  MethodObject& method() const;
  MacroObject& macro() const;
  LoopObject& loop() const;
  CyclerObject& cycler() const;
  JoinerObject& joiner() const;
};

// Bounds of one rendering; what they cut off is a template that does not end.
struct HeapLimits {
  int64_t max_steps;
  int64_t max_memory_bytes;
  int max_depth;
};

// Owns everything one rendering makes and counts what it costs. Throws JinjaError at a limit.
class Heap {
 public:
  explicit Heap(const HeapLimits& limits) : limits_(limits) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // `count` units of work: about one evaluated node, or some tens of bytes moved.
  void step(int64_t count = 1);
  void charge_bytes(int64_t bytes);

  std::string_view copy(std::string_view text);
  Value string(std::string_view text, bool safe = false) { return Value::string(copy(text), safe); }
  template <typename T>
  T* make() {
    charge_bytes(sizeof(T) + 16);
    auto owned = std::make_unique<T>();
    T* raw = owned.get();
    objects_.push_back(std::move(owned));
    return raw;
  }
  Value list(std::vector<Value> items, Kind kind = Kind::kList);
  Value pair(Value a, Value b) { return list({a, b}, Kind::kTuple); }
  // An iterator whose items are made when it is first read.
  Value lazy(std::function<std::vector<Value>()> fill);
  Value iterator(std::vector<Value> items);

  int max_depth() const { return limits_.max_depth; }

 private:
  friend class DepthGuard;
  HeapLimits limits_;
  int64_t steps_ = 0;
  int64_t bytes_ = 0;
  int depth_ = 0;
  std::vector<std::unique_ptr<Object>> objects_;
  std::vector<std::unique_ptr<char[]>> chunks_;
  size_t chunk_left_ = 0;
  char* chunk_next_ = nullptr;
};

// One level of recursion, over nodes or over nested values.
class DepthGuard {
 public:
  explicit DepthGuard(Heap& heap) : heap_(heap) {
    if (++heap_.depth_ > heap_.limits_.max_depth) {
      --heap_.depth_;
      fail("nested deeper than {} levels", heap_.limits_.max_depth);
    }
  }
  ~DepthGuard() { --heap_.depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  Heap& heap_;
};

struct ListObject : Object {
  std::vector<Value> items;
};

// A tuple of two that also answers to .grouper and .list: an item of what groupby gives.
struct GroupObject : ListObject {};

// Insertion order, as Python keeps it, with an index once it has more than a few keys.
struct DictObject : Object {
  std::vector<std::pair<Value, Value>> entries;

  // nullptr when absent. Throws for an unhashable key (a list or a dict).
  const Value* find(Heap& heap, const Value& key) const;
  const Value* find(Heap& heap, std::string_view key) const;
  void set(Heap& heap, const Value& key, const Value& value);
  void clear();

 private:
  size_t slot_of(Heap& heap, const Value& key, uint64_t hash) const;  // entries.size(): absent
  std::unordered_multimap<uint64_t, size_t> index_;
};

enum class ViewPart : uint8_t { kKeys, kValues, kItems };
struct DictViewObject : Object {
  DictObject* dict = nullptr;
  ViewPart part = ViewPart::kKeys;
};

struct RangeObject : Object {
  int64_t start = 0, stop = 0, step = 1;
  int64_t size() const;
};

struct IteratorObject : Object {
  std::function<std::vector<Value>()> fill;  // empty once it has run
  std::vector<Value> items;
  size_t next = 0;
  bool filling = false;
};

struct NamespaceObject : Object {
  DictObject* attributes = nullptr;
};

struct MethodObject : Object {
  Value self;
  std::string_view name;
};

struct CyclerObject : Object {
  std::vector<Value> items;
  size_t next = 0;
};

// Strings made by from_json() are views into it.
struct JsonObject : Object {
  Json json;
};

struct JoinerObject : Object {
  Value separator;
  bool used = false;
};

// Reads any iterable from the front, without copying it. Throws when `source` is none.
class Iteration {
 public:
  Iteration() = default;
  Iteration(Heap& heap, const Value& source);
  bool next(Value* out);

 private:
  Heap* heap_ = nullptr;
  Value source_;
  size_t position_ = 0;
};

bool is_iterable(const Value& value);
std::vector<Value> to_vector(Heap& heap, const Value& value);

// Python's name of the type: 'str', 'NoneType', ...
std::string_view type_name(const Value& value);
// What an undefined value says when it is used.
std::string undefined_message(const Value& value);
[[noreturn]] void fail_undefined(const Value& value);

bool truthy(const Value& value);
bool has_length(const Value& value);
int64_t length(const Value& value);  // throws when it has none
bool equal(Heap& heap, const Value& a, const Value& b);
bool identical(const Value& a, const Value& b);  // Python's `is`
uint64_t hash_value(Heap& heap, const Value& value);
enum class Order { kLess, kLessEqual, kGreater, kGreaterEqual };
bool compare(Heap& heap, Order order, const Value& a, const Value& b);
bool contains(Heap& heap, const Value& container, const Value& item);

double to_double(const Value& number);  // REQUIRES: is_number()
Int to_integer(const Value& number);    // REQUIRES: is_integral()
std::string int_to_string(Int value);

Value from_json(Heap& heap, const Json& json);

}  // namespace ferry::text::jinja
