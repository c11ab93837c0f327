// Filters over lists, mappings and other iterables. Those that Python writes as generators give an
// iterator that does its work when it is first read.
#include <algorithm>
#include <iterator>

#include "text/jinja_builtins.h"
#include "text/jinja_unicode.h"

namespace ferry::text::jinja {
namespace {

Value lower_if_string(Interpreter& in, const Value& value) {
  if (!value.is_string()) return value;
  in.heap().charge_bytes(static_cast<int64_t>(value.text.size()));
  return in.heap().string(to_lower(value.text));
}

// The value items are compared by: an attribute of them when a path is given, without case.
struct SortKey {
  const Value* path = nullptr;
  const Value* fallback = nullptr;  // for an attribute that is not there
  bool case_sensitive = false;

  Value of(Interpreter& in, const Value& item) const {
    Value key = path != nullptr ? attribute_path(in, item, *path) : item;
    if (fallback != nullptr && key.is(Kind::kUndefined)) key = *fallback;
    return case_sensitive ? key : lower_if_string(in, key);
  }
};

const Value* given(const Bound& bound, size_t i) { return bound.has(i) ? &bound[i] : nullptr; }

struct Keyed {
  Value key;
  Value item;
};

// Stable, by key; items that compare equal keep their order also when reversed, as in Python.
void sort_keyed(Heap& heap, std::vector<Keyed>* items, bool reverse) {
  std::stable_sort(items->begin(), items->end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? compare(heap, Order::kLess, b.key, a.key)
                   : compare(heap, Order::kLess, a.key, b.key);
  });
}

std::vector<Value> items_of(const std::vector<Keyed>& keyed) {
  std::vector<Value> items;
  for (const Keyed& entry : keyed) items.push_back(entry.item);
  return items;
}

Value filter_length(Interpreter&, const Value& subject, const Args& args) {
  const Bound bound("length", args, {});
  return Value::integer_of(length(subject));
}

Value filter_default(Interpreter&, const Value& subject, const Args& args) {
  const Bound bound("default", args, {"default_value", "boolean"});
  const bool use = subject.is(Kind::kUndefined) || (bound.truth_or(1, false) && !truthy(subject));
  return use ? bound.value_or(0, Value::string({})) : subject;
}

Value filter_first(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("first", args, {});
  Iteration iteration(in.heap(), subject);
  Value item;
  return iteration.next(&item) ? item : Value::undefined_note("no first item, sequence was empty");
}

Value filter_last(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("last", args, {});
  const bool reversible = has_length(subject) && !subject.is(Kind::kLoop);
  if (!reversible) fail("'{}' object is not reversible", type_name(subject));
  const std::vector<Value> items = to_vector(in.heap(), subject);
  return items.empty() ? Value::undefined_note("no last item, sequence was empty") : items.back();
}

Value filter_list(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("list", args, {});
  return in.heap().list(to_vector(in.heap(), subject));
}

Value filter_reverse(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("reverse", args, {});
  Heap& heap = in.heap();
  if (subject.is_string()) {
    return slice(heap, subject, Value::none(), Value::none(), Value::integer_of(-1));
  }
  std::vector<Value> items = to_vector(heap, subject);
  std::reverse(items.begin(), items.end());
  return has_length(subject) && !subject.is(Kind::kUndefined) ? heap.iterator(std::move(items))
                                                              : heap.list(std::move(items));
}

Value filter_join(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("join", args, {"d", "attribute"});
  Heap& heap = in.heap();
  const std::string_view separator = bound.is_given(0) ? in.text_view(bound[0]) : "";
  std::string out;
  bool is_first = true;
  Iteration iteration(heap, subject);
  for (Value item; iteration.next(&item); is_first = false) {
    if (bound.has(1)) item = attribute_path(in, item, bound[1]);
    if (!is_first) {
      heap.charge_bytes(static_cast<int64_t>(separator.size()));
      out += separator;
    }
    append_str(heap, &out, item);
  }
  return heap.string(out);
}

Value filter_items(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("items", args, {});
  Heap& heap = in.heap();
  return heap.lazy([&heap, subject] {
    std::vector<Value> pairs;
    if (subject.is(Kind::kUndefined)) return pairs;
    if (!subject.is(Kind::kDict)) fail("can only get item pairs from a mapping");
    for (const auto& [key, value] : subject.dict().entries) pairs.push_back(heap.pair(key, value));
    return pairs;
  });
}

Value filter_dict_sort(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("dictsort", args, {"case_sensitive", "by", "reverse"});
  Heap& heap = in.heap();
  const std::string_view by = bound.string_or(1, "key");
  if (by != "key" && by != "value") fail("dictsort: sort by either \"key\" or \"value\"");
  if (subject.is(Kind::kUndefined)) fail_undefined(subject);
  if (!subject.is(Kind::kDict)) fail("dictsort: expected a mapping, found {}", type_name(subject));
  SortKey sort_key;
  sort_key.case_sensitive = bound.truth_or(0, false);
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : subject.dict().entries) {
    keyed.push_back({sort_key.of(in, by == "key" ? key : value), heap.pair(key, value)});
  }
  sort_keyed(heap, &keyed, bound.truth_or(2, false));
  return heap.list(items_of(keyed));
}

// "age,name" sorts by age, then by name.
std::vector<Value> split_paths(Heap& heap, const Value& path) {
  if (!path.is_string()) return {path};
  std::vector<Value> paths;
  std::string_view rest = path.text;
  for (;;) {
    const size_t comma = rest.find(',');
    paths.push_back(Value::string(rest.substr(0, comma)));
    heap.step();
    if (comma == std::string_view::npos) return paths;
    rest.remove_prefix(comma + 1);
  }
}

Value filter_sort(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("sort", args, {"reverse", "case_sensitive", "attribute"});
  Heap& heap = in.heap();
  std::vector<Value> paths;
  if (bound.has(2)) paths = split_paths(heap, bound[2]);
  SortKey sort_key;
  sort_key.case_sensitive = bound.truth_or(1, false);
  std::vector<Keyed> keyed;
  for (const Value& item : to_vector(heap, subject)) {
    std::vector<Value> keys;
    if (paths.empty()) keys.push_back(sort_key.of(in, item));
    for (const Value& path : paths) {
      sort_key.path = &path;
      keys.push_back(sort_key.of(in, item));
    }
    keyed.push_back({heap.list(std::move(keys)), item});
  }
  sort_keyed(heap, &keyed, bound.truth_or(0, false));
  return heap.list(items_of(keyed));
}

Value filter_unique(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("unique", args, {"case_sensitive", "attribute"});
  const Value path = bound.value_or(1, Value::none());
  const bool case_sensitive = bound.truth_or(0, false);
  return in.heap().lazy([&in, subject, path, case_sensitive] {
    SortKey key;
    key.case_sensitive = case_sensitive;
    if (!path.is(Kind::kNone)) key.path = &path;
    auto* seen = in.heap().make<DictObject>();
    std::vector<Value> items;
    Iteration iteration(in.heap(), subject);
    for (Value item; iteration.next(&item);) {
      const Value item_key = key.of(in, item);
      if (seen->find(in.heap(), item_key) != nullptr) continue;
      seen->set(in.heap(), item_key, Value::none());
      items.push_back(item);
    }
    return items;
  });
}

template <bool kLargest>
Value filter_extreme(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound(kLargest ? "max" : "min", args, {"case_sensitive", "attribute"});
  SortKey key;
  key.case_sensitive = bound.truth_or(0, false);
  key.path = given(bound, 1);
  Iteration iteration(in.heap(), subject);
  Value best;
  if (!iteration.next(&best)) {
    return Value::undefined_note("no aggregated item, sequence was empty");
  }
  Value best_key = key.of(in, best);
  for (Value item; iteration.next(&item);) {
    const Value item_key = key.of(in, item);
    constexpr Order kOrder = kLargest ? Order::kGreater : Order::kLess;
    if (!compare(in.heap(), kOrder, item_key, best_key)) continue;
    best = item;
    best_key = item_key;
  }
  return best;
}

Value filter_sum(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("sum", args, {"attribute", "start"});
  Value total = bound.value_or(1, Value::integer_of(0));
  if (total.is_string()) fail("sum: strings cannot be summed");
  Iteration iteration(in.heap(), subject);
  for (Value item; iteration.next(&item);) {
    if (bound.has(0)) item = attribute_path(in, item, bound[0]);
    total = binary_operation(in, BinaryOp::kAdd, total, item);
  }
  return total;
}

Value filter_group_by(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("groupby", args, {"attribute", "default", "case_sensitive"}, 1);
  Heap& heap = in.heap();
  SortKey key;
  key.path = &bound[0];
  key.fallback = given(bound, 1);
  key.case_sensitive = bound.truth_or(2, false);
  std::vector<Keyed> keyed;
  for (const Value& item : to_vector(heap, subject)) keyed.push_back({key.of(in, item), item});
  sort_keyed(heap, &keyed, false);
  key.case_sensitive = true;  // the group is named as its first item writes it
  std::vector<Value> groups;
  for (size_t begin = 0; begin < keyed.size();) {
    size_t end = begin;
    std::vector<Value> items;
    while (end < keyed.size() && equal(heap, keyed[end].key, keyed[begin].key)) {
      items.push_back(keyed[end++].item);
    }
    if (items.empty()) items.push_back(keyed[end++].item);  // NaN equals nothing, not even itself
    const Value name = key.of(in, items[0]);
    auto* group = heap.make<GroupObject>();
    group->items = {name, heap.list(std::move(items))};
    heap.charge_bytes(2 * sizeof(Value));
    groups.push_back(Value::object_of(Kind::kTuple, group));
    begin = end;
  }
  return heap.list(std::move(groups));
}

Value filter_batch(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("batch", args, {"linecount", "fill_with"}, 1);
  const int64_t size = bound.integer_or(0, 0);
  const Value fill = bound.value_or(1, Value::none());
  return in.heap().lazy([&in, subject, size, fill] {
    Heap& heap = in.heap();
    std::vector<Value> batches, batch;
    Iteration iteration(heap, subject);
    for (Value item; iteration.next(&item);) {
      if (static_cast<int64_t>(batch.size()) == size) {
        batches.push_back(heap.list(std::move(batch)));
        batch.clear();
      }
      batch.push_back(item);
    }
    if (batch.empty()) return batches;
    const int64_t missing = size - static_cast<int64_t>(batch.size());
    if (!fill.is(Kind::kNone) && missing > 0) {
      heap.charge_bytes(missing * static_cast<int64_t>(sizeof(Value)));
      batch.insert(batch.end(), static_cast<size_t>(missing), fill);
    }
    batches.push_back(heap.list(std::move(batch)));
    return batches;
  });
}

Value filter_slice(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("slice", args, {"slices", "fill_with"}, 1);
  const int64_t slices = bound.integer_or(0, 0);
  const Value fill = bound.value_or(1, Value::none());
  return in.heap().lazy([&in, subject, slices, fill] {
    Heap& heap = in.heap();
    const std::vector<Value> items = to_vector(heap, subject);
    if (slices == 0) fail("integer division or modulo by zero");
    const int64_t count = static_cast<int64_t>(items.size());
    std::vector<Value> parts;
    int64_t begin = 0;
    for (int64_t i = 0; i < slices; ++i) {
      const bool has_extra = i < count % slices;
      const int64_t end = begin + count / slices + (has_extra ? 1 : 0);
      std::vector<Value> part(items.begin() + begin, items.begin() + end);
      if (!has_extra && !fill.is(Kind::kNone)) part.push_back(fill);
      parts.push_back(heap.list(std::move(part)));
      begin = end;
    }
    return parts;
  });
}

Value filter_attr(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("attr", args, {"name"}, 1);
  if (!bound[0].is_string()) fail("attr: the name must be a string");
  if (subject.is(Kind::kUndefined)) fail_undefined(subject);
  // Only real attributes, not elements of a mapping.
  if (!subject.is(Kind::kDict)) return in.get_attribute(subject, bound[0].text);
  Value empty = Value::object_of(Kind::kDict, in.heap().make<DictObject>());
  Value found = in.get_attribute(empty, bound[0].text);
  if (found.is(Kind::kMethod)) found.method().self = subject;
  return found;
}

Args without_first(const Args& args, size_t count) {
  Args rest = args;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<int64_t>(count));
  return rest;
}

Value filter_map(Interpreter& in, const Value& subject, const Args& args) {
  return in.heap().lazy([&in, subject, args] {
    std::vector<Value> items;
    if (!truthy(subject)) return items;
    const bool by_attribute =
        args.positional.empty() &&
        std::any_of(args.keywords.begin(), args.keywords.end(),
                    [](const auto& keyword) { return keyword.first == "attribute"; });
    std::optional<Bound> bound;
    if (by_attribute) bound.emplace(Bound("map", args, {"attribute", "default"}));
    if (!by_attribute && (args.positional.empty() || !args.positional[0].is_string())) {
      fail("map needs the name of a filter");
    }
    const Args rest = by_attribute ? Args{} : without_first(args, 1);
    Iteration iteration(in.heap(), subject);
    for (Value item; iteration.next(&item);) {
      if (!by_attribute) {
        items.push_back(in.apply_filter(args.positional[0].text, item, rest));
        continue;
      }
      Value found = attribute_path(in, item, (*bound)[0]);
      if (found.is(Kind::kUndefined) && bound->has(1)) found = (*bound)[1];
      items.push_back(found);
    }
    return items;
  });
}

// select, reject, selectattr, rejectattr.
template <bool kWanted, bool kByAttribute>
Value filter_select(Interpreter& in, const Value& subject, const Args& args) {
  return in.heap().lazy([&in, subject, args] {
    std::vector<Value> items;
    if (!truthy(subject)) return items;
    constexpr size_t kSkip = kByAttribute ? 1 : 0;
    if (args.positional.size() < kSkip) fail("the name of an attribute is missing");
    const bool has_test = args.positional.size() > kSkip;
    if (has_test && !args.positional[kSkip].is_string()) fail("the name of a test is missing");
    const Args rest = has_test ? without_first(args, kSkip + 1) : Args{};
    Iteration iteration(in.heap(), subject);
    for (Value item; iteration.next(&item);) {
      const Value tested = kByAttribute ? attribute_path(in, item, args.positional[0]) : item;
      const bool passes =
          has_test ? in.apply_test(args.positional[kSkip].text, tested, rest) : truthy(tested);
      if (passes == kWanted) items.push_back(item);
    }
    return items;
  });
}

constexpr FilterEntry kSequenceFilters[] = {
    {"attr", filter_attr},
    {"batch", filter_batch},
    {"count", filter_length},
    {"d", filter_default},
    {"default", filter_default},
    {"dictsort", filter_dict_sort},
    {"first", filter_first},
    {"groupby", filter_group_by},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"length", filter_length},
    {"list", filter_list},
    {"map", filter_map},
    {"max", filter_extreme<true>},
    {"min", filter_extreme<false>},
    {"reject", filter_select<false, false>},
    {"rejectattr", filter_select<false, true>},
    {"reverse", filter_reverse},
    {"select", filter_select<true, false>},
    {"selectattr", filter_select<true, true>},
    {"slice", filter_slice},
    {"sort", filter_sort},
    {"sum", filter_sum},
    {"unique", filter_unique},
};

}  // namespace

Filter find_sequence_filter(std::string_view name) {
  const auto* it = std::find_if(std::begin(kSequenceFilters), std::end(kSequenceFilters),
                                [name](const FilterEntry& entry) { return entry.name == name; });
  return it == std::end(kSequenceFilters) ? nullptr : it->filter;
}

// Dots lead from attribute to attribute; parts of digits are indices.
Value attribute_path(Interpreter& interpreter, const Value& item, const Value& path) {
  if (!path.is_string()) return interpreter.get_element(item, path);
  Value found = item;
  std::string_view rest = path.text;
  for (;;) {
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    const bool is_index =
        !part.empty() && part.size() < 18 &&
        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    Int index = 0;
    for (char c : part) index = is_index ? index * 10 + (c - '0') : 0;
    found =
        interpreter.get_element(found, is_index ? Value::integer_of(index) : Value::string(part));
    if (dot == std::string_view::npos) return found;
    rest.remove_prefix(dot + 1);
  }
}

}  // namespace ferry::text::jinja
