// See json_text.h.
#include "grammar/json_text.h"

#include "grammar/json_number.h"

namespace ferry::grammar {
namespace {

constexpr int64_t kMaxIndentSpaces = 64, kMaxIndentTabs = 16;

ExprRef hex_digit() { return chars({{'0', '9'}, {'A', 'F'}, {'a', 'f'}}); }
ExprRef one_of(CharSet set) { return chars(std::move(set)); }

// Characters that stand for themselves.
CharSet plain_chars() { return complement({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}); }

// The rule of this name, which `make` defines on first use.
template <typename Make>
Result<ExprRef> shared_rule(RuleSet& rules, const char* name, const Make& make) {
  if (const std::optional<int32_t> known = rules.find(name)) return call(*known);
  const int32_t rule = rules.reserve_as(name, name);
  FERRY_TRY(const ExprRef expr, make());
  FERRY_TRY_VOID(rules.define(rule, expr));
  return call(rule);
}

// open [item (, item)*] close
Result<ExprRef> enclosed(RuleSet& rules, std::string_view open, ExprRef item,
                         std::string_view close) {
  FERRY_TRY(const ExprRef space, json_space(rules));
  FERRY_TRY(const ExprRef comma, json_comma(rules));
  const ExprRef items = list({}, {}, comma, std::move(item));
  return sequence({bytes(open), space, items, space, bytes(close)});
}

}  // namespace

ExprRef json_any_char() {
  const ExprRef hex = hex_digit();
  const ExprRef two = repeat(hex, 2, 2);
  const ExprRef three = repeat(hex, 3, 3);
  const ExprRef d = one_of({{'D', 'D'}, {'d', 'd'}});
  // \uHHHH that is no half of a pair: D000–D7FF are the only ones that begin with D.
  const ExprRef single = choice(
      {sequence({one_of({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}), three}),
       sequence({d, one_of({{'0', '7'}}), two})});
  const ExprRef high = sequence({d, one_of({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}), two});
  const ExprRef low = sequence({d, one_of({{'C', 'F'}, {'c', 'f'}}), two});
  return choice({chars(plain_chars()),
                 sequence({bytes("\\"), chars(make_set({{'"', '"'},
                                                        {'\\', '\\'},
                                                        {'/', '/'},
                                                        {'b', 'b'},
                                                        {'f', 'f'},
                                                        {'n', 'n'},
                                                        {'r', 'r'},
                                                        {'t', 't'}}))}),
                 sequence({bytes("\\u"), single}),
                 sequence({bytes("\\u"), high, bytes("\\u"), low})});
}

ExprRef json_char(const CharSet& set) {
  const CharSet plain = intersect(set, plain_chars());
  std::vector<ExprRef> ways;
  if (!plain.empty()) ways.push_back(chars(plain));
  for (char32_t c = 0; c <= '\\'; ++c) {
    if ((c >= 0x20 && c != '"' && c != '\\') || !contains(set, c)) continue;
    const std::string quoted = Json(std::string(1, static_cast<char>(c))).dump();
    ways.push_back(bytes(std::string_view(quoted).substr(1, quoted.size() - 2)));
  }
  return ways.size() == 1 ? ways[0] : choice(std::move(ways));
}

Result<ExprRef> json_literal(RuleSet& rules, const Json& value) {
  if (!value.is_structured()) return bytes(value.dump());
  FERRY_TRY(const ExprRef space, json_space(rules));
  FERRY_TRY(const ExprRef comma, json_comma(rules));
  std::vector<ExprRef> parts;
  for (const auto& [key, item] : value.items()) {
    FERRY_TRY(ExprRef part, json_literal(rules, item));
    if (value.is_object()) {
      part = sequence({bytes(Json(key).dump()), json_colon(), std::move(part)});
    }
    parts.push_back(std::move(part));
  }
  std::vector<bool> required(parts.size(), true);
  return sequence({bytes(value.is_object() ? "{" : "["), space,
                   list(std::move(parts), std::move(required), comma, nullptr), space,
                   bytes(value.is_object() ? "}" : "]")});
}

Result<ExprRef> json_space(RuleSet& rules) {
  FERRY_TRY(const ExprRef new_line, shared_rule(rules, "line end", []() -> Result<ExprRef> {
              return sequence({bytes("\n"), choice({repeat(bytes(" "), 0, kMaxIndentSpaces),
                                                    repeat(bytes("\t"), 1, kMaxIndentTabs)})});
            }));
  return choice({bytes(""), bytes(" "), new_line});
}

ExprRef json_colon() { return choice({bytes(":"), bytes(": ")}); }

Result<ExprRef> json_comma(RuleSet& rules) {
  FERRY_TRY(ExprRef space, json_space(rules));
  return sequence({bytes(","), std::move(space)});
}

Result<ExprRef> json_any_string(RuleSet& rules) {
  return shared_rule(rules, "a string", []() -> Result<ExprRef> {
    return sequence({bytes("\""), repeat(json_any_char(), 0, -1), bytes("\"")});
  });
}

Result<ExprRef> json_any_value(RuleSet& rules) {
  return shared_rule(rules, "a value", [&]() -> Result<ExprRef> {
    FERRY_TRY(ExprRef text, json_any_string(rules));
    FERRY_TRY(ExprRef object, json_any_object(rules));
    FERRY_TRY(ExprRef array, json_any_array(rules));
    return choice({std::move(text), std::move(object), std::move(array), json_any_number(),
                   bytes("true"), bytes("false"), bytes("null")});
  });
}

Result<ExprRef> json_any_object(RuleSet& rules) {
  return shared_rule(rules, "an object", [&]() -> Result<ExprRef> {
    FERRY_TRY(ExprRef name, json_any_string(rules));
    FERRY_TRY(ExprRef value, json_any_value(rules));
    return enclosed(rules, "{", sequence({std::move(name), json_colon(), std::move(value)}), "}");
  });
}

Result<ExprRef> json_any_array(RuleSet& rules) {
  return shared_rule(rules, "an array", [&]() -> Result<ExprRef> {
    FERRY_TRY(ExprRef value, json_any_value(rules));
    return enclosed(rules, "[", std::move(value), "]");
  });
}

}  // namespace ferry::grammar
