// One rule per distinct subschema: subschemas are known by their text, so that recursion finds the
// rule that is being built.
#include "grammar/json_schema.h"

#include <algorithm>
#include <cmath>

#include "base/quote_name.h"
#include "grammar/json_number.h"
#include "grammar/json_text.h"
#include "grammar/schema_merge.h"
#include "grammar/schema_object.h"
#include "grammar/schema_string.h"
#include "grammar/schema_tools.h"

namespace ferry::grammar {
namespace {

constexpr size_t kMaxEnumValues = 4096;
constexpr size_t kMaxPrefixItems = 256;

class SchemaRules : public SubschemaCompiler {
 public:
  SchemaRules(RuleSet& rules, const Json& root)
      : rules_(rules),
        document_(root, rules.budget()),
        prefix_(std::to_string(rules.next_document())) {}

  // The expression for `schema`: a call of its rule, or for plain values the values themselves.
  Result<ExprRef> compile(const Schema& schema) override {
    if (schema.value == false) return choice({});
    FERRY_TRY(const Json checked, checked_schema(schema));
    const std::string text = checked.dump();
    FERRY_TRY_VOID(rules_.budget().take_work(100 + static_cast<int64_t>(text.size())));
    if (checked.empty()) return json_any_value(rules_);
    const std::string key = prefix_ + "\n" + text;
    if (const std::optional<int32_t> known = rules_.find(key)) return call(*known);
    if (++depth_ > kMaxDepth) {
      return invalid_input("schema at {}: nested too deeply", schema.path);
    }
    const int32_t rule = rules_.reserve_as(key, "schema at " + schema.path);
    FERRY_TRY(const ExprRef expr, build({checked, schema.path}));
    FERRY_TRY_VOID(rules_.define(rule, expr));
    --depth_;
    return call(rule);
  }

  RuleSet& rules() override { return rules_; }

 private:
  static constexpr int kMaxDepth = 300;

  Result<ExprRef> build(const Schema& schema) {
    const Json& value = schema.value;
    const auto has = [&](const char* key) { return value.contains(key); };
    if (has("$ref") && value.size() == 1) {
      FERRY_TRY(const Schema target, document_.resolve(schema));
      return compile(target);
    }
    if (has("anyOf") && value.size() == 1) {
      std::vector<ExprRef> ways;
      for (size_t i = 0; i < value["anyOf"].size(); ++i) {
        const std::string path = child_path(schema.path + "/anyOf", std::to_string(i));
        FERRY_TRY(ways.emplace_back(), compile({value["anyOf"][i], path}));
      }
      return choice(std::move(ways));
    }
    if (has("$ref") || has("allOf") || has("anyOf") || has("oneOf")) {
      FERRY_TRY(const std::vector<Schema> parts, document_.alternatives(schema));
      std::vector<ExprRef> ways;
      for (const Schema& part : parts) {
        FERRY_TRY(ways.emplace_back(), compile(part));
      }
      return choice(std::move(ways));
    }
    if (has("enum")) return build_enum(schema);
    std::vector<ExprRef> ways;
    const std::vector<std::string> types = types_of(value);
    for (const std::string& type : types) {
      // Every integer is a number already.
      if (type == "integer" && std::find(types.begin(), types.end(), "number") != types.end()) {
        continue;
      }
      FERRY_TRY(ways.emplace_back(), build_type(type, schema));
    }
    return choice(std::move(ways));
  }

  Result<ExprRef> build_type(const std::string& type, const Schema& schema) {
    if (type == "null") return bytes("null");
    if (type == "boolean") return choice({bytes("true"), bytes("false")});
    if (type == "integer" || type == "number") return build_number(type, schema);
    if (type == "string") return string_of_schema(schema, rules_);
    if (type == "array") return build_array(schema);
    return object_of_schema(schema, *this);
  }

  // Listed values that the keywords beside the list allow.
  Result<ExprRef> build_enum(const Schema& schema) {
    const Json& values = schema.value["enum"];
    if (values.size() > kMaxEnumValues) {
      return invalid_input("\"enum\" at {}: {} values; at most {} are allowed", schema.path,
                           values.size(), kMaxEnumValues);
    }
    Json others = schema.value;
    others.erase("enum");
    std::vector<ExprRef> ways;
    for (const Json& value : values) {
      FERRY_TRY_VOID(rules_.budget().take_work(10));
      FERRY_TRY(const bool fits, listed_value_fits(value, {others, schema.path}));
      if (!fits) continue;
      FERRY_TRY(ways.emplace_back(), json_literal(rules_, value));
    }
    return choice(std::move(ways));
  }

  Result<bool> listed_value_fits(const Json& value, const Schema& others) {
    if (others.value.contains("type")) {
      const std::vector<std::string> types = types_of(others.value);
      const bool fits = std::any_of(types.begin(), types.end(),
                                    [&](const std::string& type) { return has_type(value, type); });
      if (!fits) return false;
    }
    const bool more = others.value.size() > (others.value.contains("type") ? 1 : 0);
    if (!more) return true;
    if (value.is_structured()) {
      return refuse_keyword("enum", others.path, "other keywords beside objects and arrays in it");
    }
    // What the keywords beside the list allow, asked as an automaton.
    Schema typed = others;
    if (value.is_string()) {
      FERRY_TRY(const ExprRef allowed, string_of_schema(typed, rules_));
      FERRY_TRY(const Dfa dfa, flat(allowed));
      return dfa.matches(value.dump());
    }
    if (value.is_number()) {
      FERRY_TRY(const NumberBounds bounds, bounds_of(typed));
      return within(value, bounds);
    }
    return true;
  }

  // An expression without calls as an automaton; any string is the only call there can be.
  Result<Dfa> flat(const ExprRef& expr) {
    if (expr->kind != Expr::Kind::kJump) return to_dfa(expr, rules_.budget());
    return to_dfa(sequence({bytes("\""), repeat(json_any_char(), 0, -1), bytes("\"")}),
                  rules_.budget());
  }

  static bool within(const Json& value, const NumberBounds& bounds) {
    if (bounds.low &&
        (bounds.low->exclusive ? value <= bounds.low->value : value < bounds.low->value)) {
      return false;
    }
    return !bounds.high ||
           (bounds.high->exclusive ? value < bounds.high->value : value <= bounds.high->value);
  }

  Result<NumberBounds> bounds_of(const Schema& schema) const {
    const Json& value = schema.value;
    NumberBounds bounds;
    if (value.contains("minimum")) bounds.low = {value["minimum"], false};
    if (value.contains("maximum")) bounds.high = {value["maximum"], false};
    if (value.contains("exclusiveMinimum") &&
        (!bounds.low || value["exclusiveMinimum"] >= bounds.low->value)) {
      bounds.low = {value["exclusiveMinimum"], true};
    }
    if (value.contains("exclusiveMaximum") &&
        (!bounds.high || value["exclusiveMaximum"] <= bounds.high->value)) {
      bounds.high = {value["exclusiveMaximum"], true};
    }
    const Json format = value.value("format", Json());
    if (format == "int32") {
      if (!bounds.low || bounds.low->value < INT32_MIN) bounds.low = {INT32_MIN, false};
      if (!bounds.high || bounds.high->value > INT32_MAX) bounds.high = {INT32_MAX, false};
    } else if (value.contains("type") && types_of(value).size() == 1 && format != "int64" &&
               format != "float" && format != "double" && !format.is_null()) {
      return refuse_keyword("format", schema.path,
                            one_line(format.dump()) + " is not a format of numbers");
    }
    return bounds;
  }

  Result<ExprRef> build_number(const std::string& type, const Schema& schema) {
    FERRY_TRY(const NumberBounds bounds, bounds_of(schema));
    Result<ExprRef> expr =
        type == "integer" ? json_integer(bounds) : json_number(bounds, rules_.budget());
    if (!expr.ok()) return expr.error().in("schema at " + schema.path);
    return expr;
  }

  Result<ExprRef> build_array(const Schema& schema) {
    const Json& value = schema.value;
    const int64_t min = count_of(value, "minItems", 0);
    int64_t max = count_of(value, "maxItems", -1);
    std::vector<ExprRef> first;
    if (value.contains("prefixItems")) {
      const Json& list = value["prefixItems"];
      if (list.size() > kMaxPrefixItems) {
        return invalid_input("\"prefixItems\" at {}: {} items; at most {} are allowed", schema.path,
                             list.size(), kMaxPrefixItems);
      }
      for (size_t i = 0; i < list.size(); ++i) {
        const std::string path = child_path(schema.path + "/prefixItems", std::to_string(i));
        FERRY_TRY(first.emplace_back(), compile({list[i], path}));
      }
    }
    const auto num_first = static_cast<int64_t>(first.size());
    ExprRef rest;
    if (value.contains("items")) {
      FERRY_TRY(rest, compile({value["items"], schema.path + "/items"}));
    } else if (first.empty()) {
      FERRY_TRY(rest, json_any_value(rules_));
    } else {
      rest = choice({});
      max = max < 0 ? num_first : std::min(max, num_first);
    }
    if (max >= 0 && min > max) return choice({});
    if (max >= 0 && num_first > max) first.resize(static_cast<size_t>(max));
    FERRY_TRY(const ExprRef items, items_of(first, rest, min, max));
    FERRY_TRY(const ExprRef space, json_space(rules_));
    return sequence({bytes("["), space, items, space, bytes("]")});
  }

  // From the last item to the first: what may come behind each.
  Result<ExprRef> items_of(const std::vector<ExprRef>& first, const ExprRef& rest, int64_t min,
                           int64_t max) {
    FERRY_TRY(const ExprRef comma, json_comma(rules_));
    const auto num_first = static_cast<int64_t>(first.size());
    const int64_t head = std::max<int64_t>(num_first, 1);  // without a prefix: the first item
    const ExprRef more = sequence({comma, rest});
    ExprRef tail = bytes("");
    if (max < 0 || max > head) {
      tail = repeat(more, std::max<int64_t>(min - head, 0), max < 0 ? -1 : max - head);
    }
    if (max == 0) return bytes("");
    for (int64_t i = head - 1; i >= 0; --i) {
      const ExprRef& item = i < num_first ? first[static_cast<size_t>(i)] : rest;
      std::vector<ExprRef> parts;
      if (i > 0) parts.push_back(comma);
      parts.push_back(item);
      parts.push_back(tail);
      tail = sequence(std::move(parts));
      if (i >= min) tail = optional(std::move(tail));
    }
    return tail;
  }

  RuleSet& rules_;
  SchemaDocument document_;
  const std::string prefix_;  // tells schemas of different documents apart
  int depth_ = 0;
};

}  // namespace

int64_t count_of(const Json& schema, const char* keyword, int64_t fallback) {
  if (!schema.contains(keyword)) return fallback;
  const Json& value = schema[keyword];
  constexpr int64_t kHuge = 1'000'000'000;
  if (value.is_number_float()) {
    return static_cast<int64_t>(std::min(value.get<double>(), static_cast<double>(kHuge)));
  }
  return static_cast<int64_t>(std::min<uint64_t>(value.get<uint64_t>(), kHuge));
}

std::unique_ptr<SubschemaCompiler> make_schema_compiler(RuleSet& rules, const Json& root) {
  return std::make_unique<SchemaRules>(rules, root);
}

Result<ExprRef> add_json_schema(RuleSet& rules, const Json& schema) {
  return SchemaRules(rules, schema).compile({schema, "#"});
}

}  // namespace ferry::grammar
