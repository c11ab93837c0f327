// The expression half of the parser. See jinja_parser.h.
#include "text/jinja_parser.h"

#include <algorithm>
#include <array>

#include "text/jinja_builtins.h"
#include "text/jinja_parser_nesting.h"

namespace ferry::text::jinja {

Parser::Parser(Ast* ast) : ast_(*ast), tokens_(ast->tokenized.tokens) {
  ast_.symbol_loop = symbol_of("loop");
  ast_.symbol_caller = symbol_of("caller");
  ast_.symbol_varargs = symbol_of("varargs");
  ast_.symbol_kwargs = symbol_of("kwargs");
}

const Token& Parser::take() {
  const Token& token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}
bool Parser::at_operator(std::string_view text) const {
  return current().type == TokenType::kOperator && current().text == text;
}
bool Parser::at_name(std::string_view text) const {
  return current().type == TokenType::kName && current().text == text;
}
bool Parser::skip_operator(std::string_view text) {
  if (!at_operator(text)) return false;
  take();
  return true;
}
bool Parser::skip_name(std::string_view text) {
  if (!at_name(text)) return false;
  take();
  return true;
}
void Parser::expect_operator(std::string_view text) {
  if (!skip_operator(text)) fail_here(fmt::format("'{}'", text));
}
std::string_view Parser::expect_name() {
  if (current().type != TokenType::kName) fail_here("a name");
  return take().text;
}
void Parser::expect_type(TokenType type, std::string_view what) {
  if (current().type != type) fail_here(what);
  take();
}

void Parser::fail_here(std::string_view expected) const {
  const Token& token = current();
  std::string found;
  switch (token.type) {
    case TokenType::kEnd: found = "the end of the template"; break;
    case TokenType::kVariableEnd: found = "'}}'"; break;
    case TokenType::kBlockEnd: found = "'%}'"; break;
    case TokenType::kString: found = "a string"; break;
    case TokenType::kData: found = "text"; break;
    case TokenType::kVariableBegin: found = "'{{'"; break;
    case TokenType::kBlockBegin: found = "'{%'"; break;
    default: found = fmt::format("'{}'", token.text);
  }
  fail_at(token.line, "expected {}, found {}", expected, found);
}

int Parser::symbol_of(std::string_view name) {
  const auto [it, is_new] = symbol_ids_.emplace(name, static_cast<int>(ast_.symbols.size()));
  if (is_new) ast_.symbols.push_back(name);
  return it->second;
}

Expr* Parser::make_expr(ExprKind kind, int line) {
  Expr& expr = ast_.exprs.emplace_back();
  expr.kind = kind;
  expr.line = line;
  return &expr;
}

Expr* Parser::binary(BinaryOp op, Expr* a, Expr* b, int line) {
  Expr* node = make_expr(ExprKind::kBinary, line);
  node->op = op;
  node->a = a;
  node->b = b;
  return node;
}

Expr* Parser::parse_expression(bool with_conditional) {
  const Nesting nesting(*this);
  return with_conditional ? parse_conditional() : parse_or();
}

Expr* Parser::parse_conditional() {
  // Both sides of a conditional may name filters that do not exist as long as they are not run,
  // which is known only once the `if` is reached: such names are checked when the code runs.
  const bool was_optional = optional_code_;
  size_t level = 0;
  for (size_t i = at_; i < tokens_.size(); ++i) {
    const Token& token = tokens_[i];
    if (token.type == TokenType::kVariableEnd || token.type == TokenType::kBlockEnd) break;
    if (token.type == TokenType::kOperator) {
      const char c = token.text[0];
      if (c == '(' || c == '[' || c == '{') ++level;
      if (c == ')' || c == ']' || c == '}') {
        if (level == 0) break;
        --level;
      }
      if (c == ',' && level == 0) break;
    } else if (token.type == TokenType::kName && token.text == "if" && level == 0) {
      optional_code_ = true;
      break;
    }
  }
  Expr* node = parse_or();
  while (at_name("if")) {
    const int line = take().line;
    Expr* conditional = make_expr(ExprKind::kConditional, line);
    conditional->a = node;
    conditional->b = parse_or();
    if (skip_name("else")) {
      const Nesting nesting(*this);
      conditional->c = parse_conditional();
    }
    node = conditional;
  }
  optional_code_ = was_optional;
  return node;
}

Expr* Parser::parse_or() {
  Expr* node = parse_and();
  while (at_name("or")) {
    Expr* either = make_expr(ExprKind::kOr, take().line);
    either->a = node;
    either->b = parse_and();
    node = either;
  }
  return node;
}

Expr* Parser::parse_and() {
  Expr* node = parse_not();
  while (at_name("and")) {
    Expr* both = make_expr(ExprKind::kAnd, take().line);
    both->a = node;
    both->b = parse_not();
    node = both;
  }
  return node;
}

Expr* Parser::parse_not() {
  if (!at_name("not")) return parse_compare();
  const Nesting nesting(*this);
  Expr* node = make_expr(ExprKind::kNot, take().line);
  node->a = parse_not();
  return node;
}

Expr* Parser::parse_compare() {
  constexpr std::array<std::pair<std::string_view, CompareOp>, 6> kOperators = {{
      {"==", CompareOp::kEqual},
      {"!=", CompareOp::kNotEqual},
      {"<", CompareOp::kLess},
      {"<=", CompareOp::kLessEqual},
      {">", CompareOp::kGreater},
      {">=", CompareOp::kGreaterEqual},
  }};
  const int line = current().line;
  Expr* first = parse_sum();
  std::vector<Comparison> comparisons;
  for (;;) {
    const auto* it = std::find_if(kOperators.begin(), kOperators.end(),
                                  [this](const auto& op) { return at_operator(op.first); });
    Comparison comparison;
    if (it != kOperators.end()) {
      take();
      comparison.op = it->second;
    } else if (skip_name("in")) {
      comparison.op = CompareOp::kIn;
    } else if (at_name("not") && look_ahead().type == TokenType::kName &&
               look_ahead().text == "in") {
      take();
      take();
      comparison.op = CompareOp::kNotIn;
    } else {
      break;
    }
    comparison.value = parse_sum();
    comparisons.push_back(comparison);
  }
  if (comparisons.empty()) return first;
  Expr* node = make_expr(ExprKind::kCompare, line);
  node->a = first;
  node->comparisons = std::move(comparisons);
  return node;
}

Expr* Parser::parse_sum() {
  Expr* node = parse_concat();
  while (at_operator("+") || at_operator("-")) {
    const Token& sign = take();
    const BinaryOp op = sign.text == "+" ? BinaryOp::kAdd : BinaryOp::kSubtract;
    node = binary(op, node, parse_concat(), sign.line);
  }
  return node;
}

Expr* Parser::parse_concat() {
  Expr* first = parse_product();
  if (!at_operator("~")) return first;
  Expr* node = make_expr(ExprKind::kConcat, current().line);
  node->items.push_back(first);
  while (skip_operator("~")) {
    Expr* next = parse_product();
    node->items.push_back(next);
  }
  return node;
}

Expr* Parser::parse_product() {
  constexpr std::array<std::pair<std::string_view, BinaryOp>, 4> kOperators = {{
      {"*", BinaryOp::kMultiply},
      {"/", BinaryOp::kDivide},
      {"//", BinaryOp::kFloorDivide},
      {"%", BinaryOp::kModulo},
  }};
  Expr* node = parse_power();
  for (;;) {
    const auto* it = std::find_if(kOperators.begin(), kOperators.end(),
                                  [this](const auto& op) { return at_operator(op.first); });
    if (it == kOperators.end()) return node;
    const int line = take().line;
    node = binary(it->second, node, parse_power(), line);
  }
}

Expr* Parser::parse_power() {
  Expr* node = parse_unary();
  while (at_operator("**")) {
    const int line = take().line;
    node = binary(BinaryOp::kPower, node, parse_unary(), line);
  }
  return node;
}

Expr* Parser::parse_unary(bool with_filter) {
  Expr* node;
  if (at_operator("-") || at_operator("+")) {
    const Nesting nesting(*this);
    const Token& sign = take();
    node = make_expr(sign.text == "-" ? ExprKind::kNegative : ExprKind::kPositive, sign.line);
    node->a = parse_unary(false);
  } else {
    node = parse_primary();
  }
  node = parse_postfix(node);
  return with_filter ? parse_filters_and_tests(node) : node;
}

Expr* Parser::parse_primary() {
  const Token& token = current();
  switch (token.type) {
    case TokenType::kName: return parse_name();
    case TokenType::kString: return parse_string();
    case TokenType::kInteger:
    case TokenType::kFloat: {
      take();
      Expr* node = make_expr(ExprKind::kConstant, token.line);
      node->constant = token.type == TokenType::kInteger ? Value::integer_of(token.integer)
                                                         : Value::real_of(token.real);
      return node;
    }
    default: break;
  }
  if (skip_operator("(")) {
    TupleRules rules;
    rules.explicit_parentheses = true;
    Expr* node = parse_tuple(rules);
    expect_operator(")");
    return node;
  }
  if (at_operator("[")) return parse_list();
  if (at_operator("{")) return parse_dict();
  fail_here("an expression");
}

Expr* Parser::parse_name() {
  const Token& token = take();
  const std::string_view name = token.text;
  Expr* node = make_expr(ExprKind::kConstant, token.line);
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    node->constant = Value::boolean_of(name[0] == 't' || name[0] == 'T');
  } else if (name == "none" || name == "None") {
    node->constant = Value::none();
  } else {
    node->kind = ExprKind::kName;
    node->name = name;
    node->symbol = symbol_of(name);
    for (MacroUse& use : macro_uses_) {
      use.caller |= name == "caller";
      use.varargs |= name == "varargs";
      use.kwargs |= name == "kwargs";
    }
  }
  return node;
}

// Strings side by side are one string.
Expr* Parser::parse_string() {
  const Token& first = take();
  Expr* node = make_expr(ExprKind::kConstant, first.line);
  if (current().type != TokenType::kString) {
    node->constant = Value::string(first.text);
    return node;
  }
  std::string& joined = ast_.tokenized.strings.emplace_back(first.text);
  while (current().type == TokenType::kString) joined += take().text;
  node->constant = Value::string(joined);
  return node;
}

bool Parser::at_tuple_end(const TupleRules& rules) const {
  const TokenType type = current().type;
  return type == TokenType::kVariableEnd || type == TokenType::kBlockEnd || at_operator(")") ||
         (!rules.end_name.empty() && at_name(rules.end_name));
}

// One expression, or a tuple when commas follow.
Expr* Parser::parse_tuple(const TupleRules& rules) {
  const int line = current().line;
  std::vector<Expr*> items;
  bool is_tuple = false;
  for (;;) {
    if (!items.empty()) expect_operator(",");
    if (at_tuple_end(rules)) break;
    items.push_back(parse_expression(rules.with_conditional));
    if (!at_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return items[0];
  if (!is_tuple && !rules.explicit_parentheses) fail_here("an expression");
  Expr* node = make_expr(ExprKind::kTuple, line);
  node->items = std::move(items);
  return node;
}

Expr* Parser::parse_list() {
  Expr* node = make_expr(ExprKind::kList, take().line);
  while (!at_operator("]")) {
    if (!node->items.empty()) expect_operator(",");
    if (at_operator("]")) break;
    Expr* item = parse_expression();
    node->items.push_back(item);
  }
  take();
  return node;
}

Expr* Parser::parse_dict() {
  Expr* node = make_expr(ExprKind::kDict, take().line);
  while (!at_operator("}")) {
    if (!node->items.empty()) expect_operator(",");
    if (at_operator("}")) break;
    Expr* key = parse_expression();
    expect_operator(":");
    Expr* value = parse_expression();
    node->items.push_back(key);
    node->items.push_back(value);
  }
  take();
  return node;
}

Expr* Parser::parse_postfix(Expr* node) {
  for (;;) {
    if (at_operator(".") || at_operator("[")) {
      node = parse_subscript(node);
    } else if (at_operator("(")) {
      node = parse_call(node);
    } else {
      return node;
    }
  }
}

Expr* Parser::parse_filters_and_tests(Expr* node) {
  for (;;) {
    if (at_operator("|")) {
      node = parse_filter(node, false);
    } else if (at_name("is")) {
      node = parse_test(node);
    } else if (at_operator("(")) {
      node = parse_call(node);
    } else {
      return node;
    }
  }
}

Expr* Parser::parse_subscript(Expr* node) {
  const Token& token = take();
  if (token.text == "[") {
    Expr* result = parse_slice_or_index(node, token.line);
    expect_operator("]");
    return result;
  }
  if (current().type == TokenType::kName) {
    Expr* result = make_expr(ExprKind::kAttribute, token.line);
    result->a = node;
    result->name = take().text;
    return result;
  }
  if (current().type != TokenType::kInteger) fail_here("a name or an index after '.'");
  Expr* result = make_expr(ExprKind::kElement, token.line);
  result->a = node;
  result->b = make_expr(ExprKind::kConstant, token.line);
  result->b->constant = Value::integer_of(take().integer);
  return result;
}

Expr* Parser::parse_slice_or_index(Expr* node, int line) {
  Expr* parts[3] = {nullptr, nullptr, nullptr};
  const auto at_part = [this] {
    return !at_operator(":") && !at_operator("]") && !at_operator(",");
  };
  if (at_part()) parts[0] = parse_expression();
  if (at_operator(",")) fail_at(current().line, "indexing with several values is not supported");
  if (!at_operator(":")) {
    if (parts[0] == nullptr) fail_here("an index");
    Expr* element = make_expr(ExprKind::kElement, line);
    element->a = node;
    element->b = parts[0];
    return element;
  }
  take();
  if (at_part()) parts[1] = parse_expression();
  if (skip_operator(":") && at_part()) parts[2] = parse_expression();
  if (at_operator(",")) fail_at(current().line, "indexing with several values is not supported");
  Expr* slice = make_expr(ExprKind::kSlice, line);
  slice->a = node;
  slice->items.assign(parts, parts + 3);
  return slice;
}

Expr* Parser::parse_call(Expr* node) {
  Expr* call = make_expr(ExprKind::kCall, current().line);
  call->a = node;
  parse_call_arguments(&call->arguments);
  return call;
}

void Parser::parse_call_arguments(CallArguments* out) {
  const int line = current().line;
  expect_operator("(");
  bool is_first = true;
  while (!at_operator(")")) {
    if (!is_first) {
      expect_operator(",");
      if (at_operator(")")) break;
    }
    is_first = false;
    bool valid = out->double_starred == nullptr;
    if (skip_operator("*")) {
      valid = valid && out->starred == nullptr;
      out->starred = parse_expression();
    } else if (skip_operator("**")) {
      out->double_starred = parse_expression();
    } else if (current().type == TokenType::kName && look_ahead().type == TokenType::kOperator &&
               look_ahead().text == "=") {
      Keyword keyword;
      keyword.name = take().text;
      take();
      keyword.value = parse_expression();
      const bool twice =
          std::any_of(out->keywords.begin(), out->keywords.end(),
                      [&](const Keyword& other) { return other.name == keyword.name; });
      if (twice) fail_at(line, "keyword argument '{}' is given twice", keyword.name);
      out->keywords.push_back(keyword);
    } else {
      valid = valid && out->starred == nullptr && out->keywords.empty();
      Expr* value = parse_expression();
      out->positional.push_back(value);
    }
    if (!valid) fail_at(line, "invalid order of arguments in a call");
  }
  take();
}

// `started`: the first filter's name comes without a pipe, as after {% filter.
Expr* Parser::parse_filter(Expr* node, bool started) {
  while (started || at_operator("|")) {
    if (!started) take();
    started = false;
    Expr* filter = make_expr(ExprKind::kFilter, current().line);
    filter->name = expect_name();
    if (at_operator(".")) fail_here("the end of the filter's name");
    filter->a = node;
    if (!is_filter(filter->name) && !optional_code_) {
      fail_at(filter->line, "{}", unknown_filter_message(filter->name));
    }
    if (at_operator("(")) parse_call_arguments(&filter->arguments);
    node = filter;
  }
  return node;
}

Expr* Parser::parse_test(Expr* node) {
  Expr* test = make_expr(ExprKind::kTest, take().line);
  const bool negated = skip_name("not");
  test->name = expect_name();
  test->a = node;
  if (!is_test(test->name) && !optional_code_) {
    fail_at(test->line, "no test named '{}'", test->name);
  }
  const TokenType type = current().type;
  if (at_operator("(")) {
    parse_call_arguments(&test->arguments);
  } else if ((type == TokenType::kName || type == TokenType::kString ||
              type == TokenType::kInteger || type == TokenType::kFloat || at_operator("[") ||
              at_operator("{")) &&
             !at_name("else") && !at_name("or") && !at_name("and")) {
    if (at_name("is")) fail_at(current().line, "tests cannot be chained with 'is'");
    const Nesting nesting(*this);
    test->arguments.positional.push_back(parse_postfix(parse_primary()));
  }
  if (!negated) return test;
  Expr* inverse = make_expr(ExprKind::kNot, test->line);
  inverse->a = test;
  return inverse;
}

}  // namespace ferry::text::jinja
