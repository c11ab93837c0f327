// The methods of Python's str. Positions count code points, as in Python.
#include <algorithm>
#include <iterator>

#include "text/jinja_builtins.h"
#include "text/jinja_unicode.h"

namespace ferry::text::jinja {
namespace {

using Call = Value (*)(Interpreter&, const Value&, const Args&);

Value made(Interpreter& in, const Value& self, const std::string& text) {
  return in.heap().string(text, self.safe);
}
Value part(const Value& self, std::string_view text) { return Value::string(text, self.safe); }

std::string_view string_argument(const Bound& bound, size_t i) { return bound.string_or(i, {}); }

template <std::string (*Map)(std::string_view)>
Value map_case(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("a case method", args, {});
  in.heap().charge_bytes(static_cast<int64_t>(self.text.size()));
  return made(in, self, Map(self.text));
}

template <bool kLeft, bool kRight>
Value strip_method(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("strip", args, {"chars"});
  if (!bound.has(0)) {
    in.heap().step(1 + static_cast<int64_t>(self.text.size() / 64));
    return part(self, strip(self.text, nullptr, kLeft, kRight));
  }
  const std::string_view chars = string_argument(bound, 0);
  in.heap().step(1 + static_cast<int64_t>(self.text.size() / 64 * (chars.size() + 1)));
  return part(self, strip(self.text, &chars, kLeft, kRight));
}

// True when every code point passes, and there is one.
template <bool (*Test)(char32_t)>
Value all_method(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("a character test", args, {});
  in.heap().step(1 + static_cast<int64_t>(self.text.size() / 16));
  bool all = !self.text.empty();
  for (size_t i = 0; all && i < self.text.size();) all = Test(next_code_point(self.text, i));
  return Value::boolean_of(all);
}

bool is_alphanumeric(char32_t c) {
  return is_alphabetic(c) || is_decimal(c) || is_digit(c) || is_numeric(c);
}

// islower, isupper: some letter has a case, and none has another one.
template <bool (*Wanted)(char32_t)>
Value case_test(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("a case test", args, {});
  in.heap().step(1 + static_cast<int64_t>(self.text.size() / 16));
  bool any = false;
  for (size_t i = 0; i < self.text.size();) {
    const char32_t c = next_code_point(self.text, i);
    if (!is_cased(c)) continue;
    if (!Wanted(c)) return Value::boolean_of(false);
    any = true;
  }
  return Value::boolean_of(any);
}

Value is_title_method(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("istitle", args, {});
  in.heap().step(1 + static_cast<int64_t>(self.text.size() / 16));
  bool any = false, in_word = false;
  for (size_t i = 0; i < self.text.size();) {
    const char32_t c = next_code_point(self.text, i);
    if (is_cased(c) && is_lower(c) != in_word) return Value::boolean_of(false);
    in_word = is_cased(c);
    any |= in_word;
  }
  return Value::boolean_of(any);
}

Value is_ascii(Interpreter&, const Value& self, const Args& args) {
  const Bound bound("isascii", args, {});
  return Value::boolean_of(std::all_of(self.text.begin(), self.text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x80;
  }));
}

Value is_printable_method(Interpreter& in, const Value& self, const Args& args) {
  if (self.text.empty()) return Value::boolean_of(true);
  return all_method<is_printable>(in, self, args);
}

Value is_identifier(Interpreter&, const Value& self, const Args& args) {
  const Bound bound("isidentifier", args, {});
  bool valid = !self.text.empty();
  for (size_t i = 0; valid && i < self.text.size();) {
    const bool first = i == 0;
    const char32_t c = next_code_point(self.text, i);
    valid = first ? is_name_start(c) : is_name_part(c);
  }
  return Value::boolean_of(valid);
}

// The part of the text that optional start and end arguments choose; `skipped` gets the number of
// code points before it. False when start lies behind the end, where nothing is ever found.
bool window(Interpreter& in, const Value& self, const Bound& bound, size_t first,
            std::string_view* text, int64_t* skipped) {
  *text = self.text;
  *skipped = 0;
  if (!bound.has(first) && !bound.has(first + 1)) return true;
  const int64_t size = length(self);
  in.heap().step(1 + static_cast<int64_t>(self.text.size() / 64));
  const auto clamp = [size](int64_t at) { return at < 0 ? std::max<int64_t>(at + size, 0) : at; };
  const int64_t start = clamp(bound.has(first) ? bound.integer_or(first, 0) : 0);
  const int64_t raw_end = bound.has(first + 1) ? bound.integer_or(first + 1, 0) : size;
  const int64_t end = std::min(clamp(raw_end), size);
  if (start > end || start > size) return false;
  const size_t begin = code_point_offset(self.text, static_cast<size_t>(start));
  *text = self.text.substr(begin);
  *text = text->substr(0, code_point_offset(*text, static_cast<size_t>(end - start)));
  *skipped = start;
  return true;
}

template <bool kAtStart>
Value affix_test(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound(kAtStart ? "startswith" : "endswith", args, {"affix", "start", "end"}, 1);
  std::string_view text;
  int64_t skipped;
  const bool exists = window(in, self, bound, 1, &text, &skipped);
  std::vector<Value> wanted = {bound[0]};
  if (bound[0].is(Kind::kTuple)) wanted = bound[0].list().items;
  bool found = false;
  for (const Value& affix : wanted) {
    if (!affix.is_string()) fail("expected a string or a tuple of strings to compare with");
    in.heap().step();
    const size_t size = affix.text.size();
    if (!exists || size > text.size()) continue;
    found |= (kAtStart ? text.substr(0, size) : text.substr(text.size() - size)) == affix.text;
  }
  return Value::boolean_of(found);
}

template <bool kFromEnd, bool kMustExist>
Value find_method(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("find", args, {"sub", "start", "end"}, 1);
  std::string_view text;
  int64_t skipped;
  const std::string_view wanted = string_argument(bound, 0);
  in.heap().step(1 + static_cast<int64_t>(self.text.size() / 64));
  size_t at = std::string_view::npos;
  if (window(in, self, bound, 1, &text, &skipped)) {
    at = kFromEnd ? text.rfind(wanted) : text.find(wanted);
  }
  if (at == std::string_view::npos) {
    if (kMustExist) fail("substring not found");
    return Value::integer_of(-1);
  }
  return Value::integer_of(skipped + static_cast<int64_t>(code_point_length(text.substr(0, at))));
}

Value count_method(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("count", args, {"sub", "start", "end"}, 1);
  std::string_view text;
  int64_t skipped;
  const std::string_view wanted = string_argument(bound, 0);
  in.heap().step(1 + static_cast<int64_t>(self.text.size() / 16));
  if (!window(in, self, bound, 1, &text, &skipped)) return Value::integer_of(0);
  if (wanted.empty()) return Value::integer_of(static_cast<Int>(code_point_length(text)) + 1);
  Int count = 0;
  for (size_t at = text.find(wanted); at != std::string_view::npos;
       at = text.find(wanted, at + wanted.size())) {
    ++count;
  }
  return Value::integer_of(count);
}

std::vector<Value> split_white_space(const Value& self, int64_t limit, bool from_end) {
  std::vector<Value> parts;
  std::string_view rest = strip(self.text, nullptr, !from_end, from_end);
  while (!rest.empty()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.push_back(part(self, strip(rest, nullptr, from_end, !from_end)));
      break;
    }
    size_t edge = from_end ? rest.size() : 0;
    while (from_end ? edge > 0 : edge < rest.size()) {
      const size_t before = from_end ? previous_code_point(rest, edge) : edge;
      size_t after = before;
      if (is_space(next_code_point(rest, after))) break;
      edge = from_end ? before : after;
    }
    parts.push_back(part(self, from_end ? rest.substr(edge) : rest.substr(0, edge)));
    rest = from_end ? rest.substr(0, edge) : rest.substr(edge);
    rest = strip(rest, nullptr, !from_end, from_end);
  }
  return parts;
}

std::vector<Value> split_at(const Value& self, std::string_view separator, int64_t limit,
                            bool from_end) {
  std::vector<Value> parts;
  std::string_view rest = self.text;
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    const size_t at = from_end ? rest.rfind(separator) : rest.find(separator);
    if (at == std::string_view::npos) break;
    const std::string_view after = rest.substr(at + separator.size());
    parts.push_back(part(self, from_end ? after : rest.substr(0, at)));
    rest = from_end ? rest.substr(0, at) : after;
  }
  parts.push_back(part(self, rest));
  return parts;
}

template <bool kFromEnd>
Value split_method(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("split", args, {"sep", "maxsplit"});
  const int64_t limit = bound.integer_or(1, -1);
  in.heap().step(1 + static_cast<int64_t>(self.text.size() / 16));
  std::vector<Value> parts;
  if (!bound.has(0)) {
    parts = split_white_space(self, limit, kFromEnd);
  } else {
    const std::string_view separator = string_argument(bound, 0);
    if (separator.empty()) fail("empty separator");
    parts = split_at(self, separator, limit, kFromEnd);
  }
  if (kFromEnd) std::reverse(parts.begin(), parts.end());
  return in.heap().list(std::move(parts));
}

Value split_lines(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("splitlines", args, {"keepends"});
  const bool keep = bound.truth_or(0, false);
  in.heap().step(1 + static_cast<int64_t>(self.text.size() / 16));
  std::vector<Value> lines;
  size_t begin = 0;
  for (size_t i = 0; i < self.text.size();) {
    const size_t end = i;
    const char32_t c = next_code_point(self.text, i);
    if (!is_line_end(c)) continue;
    if (c == '\r' && i < self.text.size() && self.text[i] == '\n') ++i;
    lines.push_back(part(self, self.text.substr(begin, (keep ? i : end) - begin)));
    begin = i;
  }
  if (begin < self.text.size()) lines.push_back(part(self, self.text.substr(begin)));
  return in.heap().list(std::move(lines));
}

template <bool kFromEnd>
Value partition(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("partition", args, {"sep"}, 1);
  const std::string_view separator = string_argument(bound, 0);
  if (separator.empty()) fail("empty separator");
  in.heap().step(1 + static_cast<int64_t>(self.text.size() / 64));
  const size_t at = kFromEnd ? self.text.rfind(separator) : self.text.find(separator);
  std::vector<Value> parts = {self, part(self, {}), part(self, {})};
  if (at == std::string_view::npos) {
    if (kFromEnd) std::swap(parts[0], parts[2]);
  } else {
    parts = {part(self, self.text.substr(0, at)), part(self, separator),
             part(self, self.text.substr(at + separator.size()))};
  }
  return in.heap().list(std::move(parts), Kind::kTuple);
}

template <bool kAtStart>
Value remove_affix(Interpreter&, const Value& self, const Args& args) {
  const Bound bound(kAtStart ? "removeprefix" : "removesuffix", args, {"affix"}, 1);
  const std::string_view affix = string_argument(bound, 0), text = self.text;
  if (affix.size() > text.size()) return self;
  const size_t rest = text.size() - affix.size();
  if (kAtStart && text.substr(0, affix.size()) == affix)
    return part(self, text.substr(affix.size()));
  if (!kAtStart && text.substr(rest) == affix) return part(self, text.substr(0, rest));
  return self;
}

Value join_method(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("join", args, {"iterable"}, 1);
  std::string out;
  bool is_first = true;
  Iteration iteration(in.heap(), bound[0]);
  for (Value item; iteration.next(&item); is_first = false) {
    if (!item.is_string()) {
      if (!self.safe) fail("join: expected str instance, {} found", type_name(item));
      item = Value::string(in.text_view(item));
    }
    const bool escapes = self.safe && !item.safe;
    const std::string piece = escapes ? escape_html(item.text) : std::string(item.text);
    in.heap().charge_bytes(static_cast<int64_t>(piece.size() + self.text.size()));
    if (!is_first) out += self.text;
    out += piece;
  }
  return made(in, self, out);
}

Value replace_method(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("replace", args, {"old", "new", "count"}, 2);
  const std::string_view old = string_argument(bound, 0);
  std::string with(string_argument(bound, 1));
  if (self.safe && !bound[1].safe) with = escape_html(with);
  int64_t left = bound.integer_or(2, -1);
  std::string out;
  const auto put = [&](std::string_view text) {
    in.heap().charge_bytes(static_cast<int64_t>(text.size()));
    out += text;
  };
  std::string_view rest = self.text;
  if (old.empty()) {
    // Between any two code points, and at both ends.
    for (; left != 0; --left) {
      put(with);
      if (rest.empty()) break;
      size_t next = 0;
      next_code_point(rest, next);
      put(rest.substr(0, next));
      rest.remove_prefix(next);
    }
    put(rest);
    return made(in, self, out);
  }
  for (; left != 0; --left) {
    const size_t at = rest.find(old);
    if (at == std::string_view::npos) break;
    put(rest.substr(0, at));
    put(with);
    rest.remove_prefix(at + old.size());
  }
  put(rest);
  return made(in, self, out);
}

// `left` and `right` fill characters around the text.
Value padded(Interpreter& in, const Value& self, const Bound& bound, bool left, bool right) {
  const int64_t width = bound.integer_or(0, 0);
  const std::string_view fill = bound.is_given(1) ? string_argument(bound, 1) : " ";
  if (code_point_length(fill) != 1) fail("the fill character must be exactly one character long");
  const int64_t missing = width - length(self);
  if (missing <= 0) return self;
  in.heap().charge_bytes(std::min<int64_t>(missing, INT64_MAX / 8) *
                         static_cast<int64_t>(fill.size()));
  // Where both sides share an odd rest, Python gives it to the left of an odd width.
  const int64_t before = left && right ? missing / 2 + (missing & width & 1) : left ? missing : 0;
  std::string out;
  for (int64_t i = 0; i < before; ++i) out += fill;
  out += self.text;
  for (int64_t i = before; i < missing; ++i) out += fill;
  return made(in, self, out);
}

template <bool kLeft, bool kRight>
Value pad_method(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("padding", args, {"width", "fillchar"}, 1);
  return padded(in, self, bound, kLeft, kRight);
}

Value zero_fill(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("zfill", args, {"width"}, 1);
  const int64_t missing = bound.integer_or(0, 0) - length(self);
  if (missing <= 0) return self;
  in.heap().charge_bytes(missing);
  const bool has_sign = !self.text.empty() && (self.text[0] == '+' || self.text[0] == '-');
  std::string out(self.text.substr(0, has_sign ? 1 : 0));
  out.append(static_cast<size_t>(missing), '0');
  out += self.text.substr(has_sign ? 1 : 0);
  return made(in, self, out);
}

Value expand_tabs(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("expandtabs", args, {"tabsize"});
  const int64_t size = bound.integer_or(0, 8);
  std::string out;
  int64_t column = 0;
  for (size_t i = 0; i < self.text.size();) {
    const char32_t c = next_code_point(self.text, i);
    if (c == '\t') {
      const int64_t count = size > 0 ? size - column % size : 0;
      in.heap().charge_bytes(count);
      out.append(static_cast<size_t>(count), ' ');
      column += count;
      continue;
    }
    column = c == '\n' || c == '\r' ? 0 : column + 1;
    append_code_point(out, c);
  }
  return made(in, self, out);
}

Value format_method(Interpreter& in, const Value& self, const Args& args) {
  if (self.safe) fail_unsupported("format() of a string marked as safe");
  return in.heap().string(format_braces(in, self.text, args));
}

Value format_map(Interpreter& in, const Value& self, const Args& args) {
  const Bound bound("format_map", args, {"mapping"}, 1);
  if (!bound[0].is(Kind::kDict)) fail("format_map() takes a mapping");
  Args spread;
  for (const auto& [key, value] : bound[0].dict().entries) {
    if (key.is_string()) spread.keywords.emplace_back(key.text, value);
  }
  return format_method(in, self, spread);
}

Value unsupported_method(Interpreter&, const Value&, const Args&) {
  fail_unsupported("the string methods encode, maketrans and translate");
}

struct MethodEntry {
  std::string_view name;
  Call call;
};

constexpr MethodEntry kMethods[] = {
    {"capitalize", map_case<to_capitalized>},
    {"casefold", map_case<to_case_folded>},
    {"center", pad_method<true, true>},
    {"count", count_method},
    {"encode", unsupported_method},
    {"endswith", affix_test<false>},
    {"expandtabs", expand_tabs},
    {"find", find_method<false, false>},
    {"format", format_method},
    {"format_map", format_map},
    {"index", find_method<false, true>},
    {"isalnum", all_method<is_alphanumeric>},
    {"isalpha", all_method<is_alphabetic>},
    {"isascii", is_ascii},
    {"isdecimal", all_method<is_decimal>},
    {"isdigit", all_method<is_digit>},
    {"isidentifier", is_identifier},
    {"islower", case_test<is_lower>},
    {"isnumeric", all_method<is_numeric>},
    {"isprintable", is_printable_method},
    {"isspace", all_method<is_space>},
    {"istitle", is_title_method},
    {"isupper", case_test<is_upper>},
    {"join", join_method},
    {"ljust", pad_method<false, true>},
    {"lower", map_case<to_lower>},
    {"lstrip", strip_method<true, false>},
    {"maketrans", unsupported_method},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<true>},
    {"removesuffix", remove_affix<false>},
    {"replace", replace_method},
    {"rfind", find_method<true, false>},
    {"rindex", find_method<true, true>},
    {"rjust", pad_method<true, false>},
    {"rpartition", partition<true>},
    {"rsplit", split_method<true>},
    {"rstrip", strip_method<false, true>},
    {"split", split_method<false>},
    {"splitlines", split_lines},
    {"startswith", affix_test<true>},
    {"strip", strip_method<true, true>},
    {"swapcase", map_case<to_swapped_case>},
    {"title", map_case<to_title>},
    {"translate", unsupported_method},
    {"upper", map_case<to_upper>},
    {"zfill", zero_fill},
};

Call find_string_method(std::string_view name) {
  const auto* it = std::find_if(std::begin(kMethods), std::end(kMethods),
                                [name](const MethodEntry& entry) { return entry.name == name; });
  return it == std::end(kMethods) ? nullptr : it->call;
}

}  // namespace

bool is_string_method(std::string_view name) { return find_string_method(name) != nullptr; }

Value call_string_method(Interpreter& interpreter, const Value& self, std::string_view name,
                         const Args& args) {
  return find_string_method(name)(interpreter, self, args);
}

}  // namespace ferry::text::jinja
