// Values as text: Python's str() and repr(), json.dumps(), and HTML escaping.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja_eval.h"
#include "text/jinja_unicode.h"

namespace ferry::text::jinja {
namespace {

// Charged as it grows: a short template can print a value a billion times over.
void put(Heap& heap, std::string* out, std::string_view text) {
  heap.charge_bytes(static_cast<int64_t>(text.size()));
  out->append(text);
}

std::string string_repr(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t position = 0; position < text.size();) {
    const char32_t c = next_code_point(text, position);
    const auto code = static_cast<uint32_t>(c);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      append_code_point(out, c);
    } else {
      out += code < 0x100     ? fmt::format("\\x{:02x}", code)
             : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                              : fmt::format("\\U{:08x}", code);
    }
  }
  return out + quote;
}

void append_items_repr(Heap& heap, std::string* out, const std::vector<Value>& items, char open,
                       char close) {
  put(heap, out, {&open, 1});
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) put(heap, out, ", ");
    append_repr(heap, out, items[i]);
  }
  if (open == '(' && items.size() == 1) put(heap, out, ",");
  put(heap, out, {&close, 1});
}

void append_dict_repr(Heap& heap, std::string* out, const DictObject& dict) {
  put(heap, out, "{");
  for (size_t i = 0; i < dict.entries.size(); ++i) {
    if (i > 0) put(heap, out, ", ");
    append_repr(heap, out, dict.entries[i].first);
    put(heap, out, ": ");
    append_repr(heap, out, dict.entries[i].second);
  }
  put(heap, out, "}");
}

void append_view_repr(Heap& heap, std::string* out, const Value& view) {
  put(heap, out, fmt::format("{}(", type_name(view)));
  append_items_repr(heap, out, to_vector(heap, view), '[', ']');
  put(heap, out, ")");
}

std::string json_string(std::string_view text, bool ensure_ascii) {
  std::string out = "\"";
  for (size_t position = 0; position < text.size();) {
    const char32_t c = next_code_point(text, position);
    const auto code = static_cast<uint32_t>(c);
    constexpr std::string_view kLetters = "btnvfr";  // from U+0008 on; \v has no short form
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c >= 8 && c <= 13 && c != 11) {
      out += '\\';
      out += kLetters[c - 8];
    } else if (c < 0x20 || (ensure_ascii && c >= 0x7F && c < 0x10000 && c != 0x7F)) {
      out += fmt::format("\\u{:04x}", code);
    } else if (ensure_ascii && c >= 0x10000) {
      const uint32_t rest = code - 0x10000;
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    } else {
      append_code_point(out, c);
    }
  }
  return out + '"';
}

std::string json_number(const Value& value) {
  switch (value.kind) {
    case Kind::kBool: return value.boolean ? "true" : "false";
    case Kind::kInt: return int_to_string(value.integer);
    default: break;
  }
  if (std::isnan(value.real)) return "NaN";
  if (std::isinf(value.real)) return value.real > 0 ? "Infinity" : "-Infinity";
  return float_repr(value.real);
}

std::string json_key(const Value& key, bool ensure_ascii) {
  if (key.is_string()) return json_string(key.text, ensure_ascii);
  if (key.is(Kind::kNone)) return "\"null\"";
  if (key.is_number()) return fmt::format("\"{}\"", json_number(key));
  fail("keys of JSON objects must be strings, numbers or none, not {}", type_name(key));
}

void json_newline(Heap& heap, std::string* out, const JsonStyle& style, int level) {
  if (!style.has_indent) return;
  put(heap, out, "\n");
  for (int i = 0; i < level; ++i) put(heap, out, style.indent);
}

void append_json_dict(Heap& heap, std::string* out, const DictObject& dict, const JsonStyle& style,
                      int level) {
  if (dict.entries.empty()) return put(heap, out, "{}");
  std::vector<std::pair<Value, Value>> entries = dict.entries;
  if (style.sort_keys) {
    std::stable_sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) {
      return compare(heap, Order::kLess, a.first, b.first);
    });
  }
  put(heap, out, "{");
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i > 0) put(heap, out, style.item_separator);
    json_newline(heap, out, style, level + 1);
    put(heap, out, json_key(entries[i].first, style.ensure_ascii));
    put(heap, out, style.key_separator);
    append_json(heap, out, entries[i].second, style, level + 1);
  }
  json_newline(heap, out, style, level);
  put(heap, out, "}");
}

void append_json_list(Heap& heap, std::string* out, const ListObject& list, const JsonStyle& style,
                      int level) {
  if (list.items.empty()) return put(heap, out, "[]");
  put(heap, out, "[");
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) put(heap, out, style.item_separator);
    json_newline(heap, out, style, level + 1);
    append_json(heap, out, list.items[i], style, level + 1);
  }
  json_newline(heap, out, style, level);
  put(heap, out, "]");
}

}  // namespace

// The shortest digits that read back the same, in Python's layout.
std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];
  const double size = std::abs(value);
  const bool fixed = value == 0 || (size >= 1e-4 && size < 1e16);
  const auto format = fixed ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr;
  std::string text(buffer, end);
  if (fixed && text.find('.') == std::string::npos) text += ".0";
  return text;
}

void append_str(Heap& heap, std::string* out, const Value& value) {
  if (value.is_string()) {
    put(heap, out, value.text);
  } else if (!value.is(Kind::kUndefined)) {
    append_repr(heap, out, value);
  }
}

void append_repr(Heap& heap, std::string* out, const Value& value) {
  const DepthGuard guard(heap);
  switch (value.kind) {
    case Kind::kUndefined: return put(heap, out, "Undefined");
    case Kind::kNone: return put(heap, out, "None");
    case Kind::kBool: return put(heap, out, value.boolean ? "True" : "False");
    case Kind::kInt: return put(heap, out, int_to_string(value.integer));
    case Kind::kFloat: return put(heap, out, float_repr(value.real));
    case Kind::kString:
      heap.charge_bytes(static_cast<int64_t>(value.text.size()));
      return put(heap, out,
                 value.safe ? fmt::format("Markup({})", string_repr(value.text))
                            : string_repr(value.text));
    case Kind::kList: return append_items_repr(heap, out, value.list().items, '[', ']');
    case Kind::kTuple: return append_items_repr(heap, out, value.list().items, '(', ')');
    case Kind::kDict: return append_dict_repr(heap, out, value.dict());
    case Kind::kDictView: return append_view_repr(heap, out, value);
    case Kind::kRange: {
      const RangeObject& range = value.range();
      return put(heap, out,
                 range.step == 1
                     ? fmt::format("range({}, {})", range.start, range.stop)
                     : fmt::format("range({}, {}, {})", range.start, range.stop, range.step));
    }
    case Kind::kNamespace:
      put(heap, out, "<Namespace ");
      append_dict_repr(heap, out, *value.ns().attributes);
      return put(heap, out, ">");
    case Kind::kLoop:
      return put(
          heap, out,
          fmt::format("<LoopContext {}/{}>", value.loop().index0 + 1, value.loop().length()));
    case Kind::kMacro: {
      const bool anonymous = value.macro().definition->symbol < 0;
      const std::string name = string_repr(value.macro().definition->name);
      return put(heap, out, fmt::format("<Macro {}>", anonymous ? "anonymous" : name));
    }
    default: fail_unsupported("printing a {}", type_name(value));
  }
}

void append_json(Heap& heap, std::string* out, const Value& value, const JsonStyle& style,
                 int level) {
  const DepthGuard guard(heap);
  switch (value.kind) {
    case Kind::kNone: return put(heap, out, "null");
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat: return put(heap, out, json_number(value));
    case Kind::kString:
      heap.charge_bytes(static_cast<int64_t>(value.text.size()));
      return put(heap, out, json_string(value.text, style.ensure_ascii));
    case Kind::kList:
    case Kind::kTuple: return append_json_list(heap, out, value.list(), style, level);
    case Kind::kDict: return append_json_dict(heap, out, value.dict(), style, level);
    default: fail("object of type {} cannot be written as JSON", type_name(value));
  }
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '\'': out += "&#39;"; break;
      case '"': out += "&#34;"; break;
      default: out += c;
    }
  }
  return out;
}

}  // namespace ferry::text::jinja
