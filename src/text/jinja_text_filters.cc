// Filters that take and give text, and the door to all filters.
#include <algorithm>
#include <iterator>

#include "base/json.h"
#include "text/jinja_builtins.h"
#include "text/jinja_unicode.h"

namespace ferry::text::jinja {
namespace {

// What jinja2 has and no chat template uses.
constexpr std::string_view kUnsupportedFilters[] = {
    "filesizeformat", "pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr"};

// soft_str: strings stay, with their mark; everything else becomes its str().
Value as_text(Interpreter& in, const Value& value) {
  return value.is_string() ? value : Value::string(in.text_view(value));
}

// A filter that is a string method of the subject's text.
Value method_filter(Interpreter& in, const Value& subject, std::string_view name,
                    const Args& args) {
  return call_string_method(in, as_text(in, subject), name, args);
}

Value filter_upper(Interpreter& in, const Value& s, const Args& args) {
  return method_filter(in, s, "upper", args);
}
Value filter_lower(Interpreter& in, const Value& s, const Args& args) {
  return method_filter(in, s, "lower", args);
}
Value filter_capitalize(Interpreter& in, const Value& s, const Args& args) {
  return method_filter(in, s, "capitalize", args);
}

Value filter_trim(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("trim", args, {"chars"});
  Args chars;
  if (bound.is_given(0)) chars.positional.push_back(bound[0]);
  return method_filter(in, subject, "strip", chars);
}

Value filter_center(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("center", args, {"width"});
  Args width;
  width.positional.push_back(bound.value_or(0, Value::integer_of(80)));
  return method_filter(in, subject, "center", width);
}

// Each word, as hyphens, brackets and white space part them, with a large first letter.
Value filter_title(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("title", args, {});
  const std::string_view text = in.text_view(subject);
  in.heap().charge_bytes(static_cast<int64_t>(text.size()));
  std::string out;
  const auto parts_words = [](char32_t c) {
    return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin;
    const bool is_gap = parts_words(next_code_point(text, end));
    const size_t first = end;
    while (end < text.size()) {
      size_t next = end;
      if (parts_words(next_code_point(text, next)) != is_gap) break;
      end = next;
    }
    out += is_gap ? text.substr(begin, first - begin) : to_upper(text.substr(begin, first - begin));
    out += is_gap ? text.substr(first, end - first) : to_lower(text.substr(first, end - first));
    begin = end;
  }
  return in.heap().string(out);
}

Value filter_replace(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("replace", args, {"old", "new", "count"}, 2);
  Args plain;
  plain.positional = {Value::string(in.text_view(bound[0])), Value::string(in.text_view(bound[1]))};
  if (bound.has(2)) plain.positional.push_back(bound[2]);
  const Value text = Value::string(in.text_view(subject));
  return call_string_method(in, text, "replace", plain);
}

Value filter_string(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("string", args, {});
  return as_text(in, subject);
}

Value filter_safe(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("safe", args, {});
  return Value::string(in.text_view(subject), true);
}

Value filter_escape(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("escape", args, {});
  if (subject.is_string() && subject.safe) return subject;
  const std::string_view text = in.text_view(subject);
  in.heap().charge_bytes(static_cast<int64_t>(text.size()) * 5);
  return in.heap().string(escape_html(text), true);
}

Value filter_force_escape(Interpreter& in, const Value& subject, const Args& args) {
  return filter_escape(in, Value::string(in.text_view(subject)), args);
}

Value filter_format(Interpreter& in, const Value& subject, const Args& args) {
  if (!args.positional.empty() && !args.keywords.empty()) {
    fail("format takes positional or keyword arguments, not both");
  }
  if (subject.is_string() && subject.safe) fail_unsupported("format of a string marked as safe");
  Heap& heap = in.heap();
  Value values = heap.list(args.positional, Kind::kTuple);
  if (!args.keywords.empty()) {
    auto* dict = heap.make<DictObject>();
    for (const auto& [name, value] : args.keywords) dict->set(heap, Value::string(name), value);
    values = Value::object_of(Kind::kDict, dict);
  }
  return heap.string(format_percent(in, in.text_view(subject), values));
}

Value filter_indent(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("indent", args, {"width", "first", "blank"});
  Heap& heap = in.heap();
  if (subject.is(Kind::kUndefined)) fail_undefined(subject);
  if (!subject.is_string()) fail("indent: expected a string, found {}", type_name(subject));
  std::string indention;
  if (bound.is_given(0) && bound[0].is_string()) {
    indention = bound[0].text;
  } else {
    const int64_t width = std::max<int64_t>(bound.integer_or(0, 4), 0);
    heap.charge_bytes(width);
    indention.assign(static_cast<size_t>(width), ' ');
  }
  const bool first = bound.truth_or(1, false), blank = bound.truth_or(2, false);
  if (subject.safe)
    indention = bound.is_given(0) && bound[0].is_string() && !bound[0].safe ? escape_html(indention)
                                                                            : indention;
  const Value text = concatenate(heap, subject, Value::string("\n", subject.safe));
  const Value lines = call_string_method(in, text, "splitlines", {});
  std::string out;
  for (size_t i = 0; i < lines.list().items.size(); ++i) {
    const std::string_view line = lines.list().items[i].text;
    const bool indents = i == 0 ? first : blank || !line.empty();
    heap.charge_bytes(static_cast<int64_t>(line.size() + indention.size() + 1));
    if (i > 0) out += '\n';
    if (indents) out += indention;
    out += line;
  }
  return heap.string(out, subject.safe);
}

Value filter_truncate(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("truncate", args, {"length", "killwords", "end", "leeway"});
  Heap& heap = in.heap();
  const Value end = bound.value_or(2, Value::string("..."));
  if (!end.is_string()) fail("truncate: the end must be a string");
  const int64_t limit = bound.integer_or(0, 255), end_size = length(end);
  const int64_t leeway = bound.has(3) ? bound.integer_or(3, 5) : 5;
  if (limit < end_size) fail("truncate: a length of {} is below the end's {}", limit, end_size);
  if (leeway < 0) fail("truncate: the leeway is negative");
  if (length(subject) <= limit + leeway) return subject;
  if (!subject.is_string()) fail("truncate: expected a string, found {}", type_name(subject));
  const Value cut =
      slice(heap, subject, Value::none(), Value::integer_of(limit - end_size), Value::none());
  if (bound.truth_or(1, false)) return concatenate(heap, cut, end);
  const size_t space = cut.text.rfind(' ');
  const Value whole = Value::string(cut.text.substr(0, space), cut.safe);
  return concatenate(heap, whole, end);
}

Value filter_word_count(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("wordcount", args, {});
  const std::string_view text = in.text_view(subject);
  in.heap().step(1 + static_cast<int64_t>(text.size() / 16));
  Int count = 0;
  bool in_word = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text, i);
    const bool is_word = c == '_' || is_alphabetic(c) || is_numeric(c) || is_digit(c);
    count += is_word && !in_word ? 1 : 0;
    in_word = is_word;
  }
  return Value::integer_of(count);
}

std::string url_quote(std::string_view text, bool for_query) {
  std::string out;
  for (char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !for_query);
    if (plain) {
      out += c;
    } else if (c == ' ' && for_query) {
      out += '+';
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

Value filter_url_encode(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("urlencode", args, {});
  Heap& heap = in.heap();
  if (subject.is_string() || !is_iterable(subject)) {
    const std::string_view text = in.text_view(subject);
    heap.charge_bytes(static_cast<int64_t>(text.size()) * 3);
    return heap.string(url_quote(text, false));
  }
  Value pairs = subject;
  if (subject.is(Kind::kDict)) {
    auto* view = heap.make<DictViewObject>();
    view->dict = &subject.dict();
    view->part = ViewPart::kItems;
    pairs = Value::object_of(Kind::kDictView, view);
  }
  std::string out;
  Iteration iteration(heap, pairs);
  for (Value item; iteration.next(&item);) {
    const std::vector<Value> pair = to_vector(heap, item);
    if (pair.size() != 2) fail("urlencode needs pairs, found {} values", pair.size());
    if (!out.empty()) out += '&';
    const std::string_view key = in.text_view(pair[0]), value = in.text_view(pair[1]);
    heap.charge_bytes(static_cast<int64_t>(key.size() + value.size()) * 3);
    out += url_quote(key, true) + "=" + url_quote(value, true);
  }
  return heap.string(out);
}

Value filter_to_json(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  Heap& heap = in.heap();
  JsonStyle style;
  style.ensure_ascii = bound.truth_or(0, false);
  style.sort_keys = bound.truth_or(3, false);
  if (bound.has(1)) {
    style.has_indent = true;
    style.item_separator = ",";
    if (bound[1].is_string()) {
      style.indent = bound[1].text;
    } else {
      const int64_t width = std::max<int64_t>(bound.integer_or(1, 0), 0);
      heap.charge_bytes(width);
      style.indent.assign(static_cast<size_t>(width), ' ');
    }
  }
  if (bound.has(2)) {
    const std::vector<Value> separators = to_vector(heap, bound[2]);
    if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string()) {
      fail("tojson: separators must be two strings");
    }
    style.item_separator = separators[0].text;
    style.key_separator = separators[1].text;
  }
  std::string out;
  append_json(heap, &out, subject, style);
  return heap.string(out);
}

// Not jinja2's own: templates written for other engines read call arguments with it.
Value filter_from_json(Interpreter& in, const Value& subject, const Args& args) {
  const Bound bound("from_json", args, {});
  if (!subject.is_string()) fail("from_json: expected a string, found {}", type_name(subject));
  JsonLimits limits;
  limits.max_depth = in.heap().max_depth() / 2;
  in.heap().charge_bytes(static_cast<int64_t>(subject.text.size()) * 16);
  const Result<Json> parsed = parse_json(subject.text, limits);
  if (!parsed.ok()) fail("from_json: {}", parsed.error().message);
  auto* kept = in.heap().make<JsonObject>();
  kept->json = *parsed;
  return from_json(in.heap(), kept->json);
}

constexpr FilterEntry kTextFilters[] = {
    {"capitalize", filter_capitalize},
    {"center", filter_center},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"forceescape", filter_force_escape},
    {"format", filter_format},
    {"from_json", filter_from_json},
    {"indent", filter_indent},
    {"lower", filter_lower},
    {"replace", filter_replace},
    {"safe", filter_safe},
    {"string", filter_string},
    {"title", filter_title},
    {"tojson", filter_to_json},
    {"trim", filter_trim},
    {"truncate", filter_truncate},
    {"upper", filter_upper},
    {"urlencode", filter_url_encode},
    {"wordcount", filter_word_count},
};

Filter find_filter(std::string_view name) {
  if (const Filter filter = find_text_filter(name)) return filter;
  if (const Filter filter = find_number_filter(name)) return filter;
  return find_sequence_filter(name);
}

}  // namespace

Filter find_text_filter(std::string_view name) {
  const auto* it = std::find_if(std::begin(kTextFilters), std::end(kTextFilters),
                                [name](const FilterEntry& entry) { return entry.name == name; });
  return it == std::end(kTextFilters) ? nullptr : it->filter;
}

bool is_filter(std::string_view name) { return find_filter(name) != nullptr; }

std::string unknown_filter_message(std::string_view name) {
  const bool known = std::find(std::begin(kUnsupportedFilters), std::end(kUnsupportedFilters),
                               name) != std::end(kUnsupportedFilters);
  return known ? fmt::format("the filter '{}' is not supported", name)
               : fmt::format("no filter named '{}'", name);
}

Value Interpreter::apply_filter(std::string_view name, const Value& subject, const Args& args) {
  const Filter filter = find_filter(name);
  if (filter == nullptr) fail("{}", unknown_filter_message(name));
  heap_.step();
  return filter(*this, subject, args);
}

}  // namespace ferry::text::jinja
