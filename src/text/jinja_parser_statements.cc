// The statement half of the parser. See jinja_parser.h.
#include <algorithm>

#include "text/jinja_parser.h"
#include "text/jinja_parser_nesting.h"

namespace ferry::text::jinja {
namespace {

// A value that a scope changes and gives back at its end.
template <typename T>
class Scoped {
 public:
  Scoped(T* place, T value) : place_(place), before_(*place) { *place = value; }
  ~Scoped() { *place_ = before_; }
  Scoped(const Scoped&) = delete;
  Scoped& operator=(const Scoped&) = delete;

 private:
  T* place_;
  T before_;
};

std::string joined(const std::vector<std::string_view>& names) {
  std::string text;
  for (std::string_view name : names) {
    if (!text.empty()) text += " or ";
    text += fmt::format("'{}'", name);
  }
  return text;
}

}  // namespace

Stmt* Parser::make_stmt(StmtKind kind, int line) {
  Stmt& stmt = ast_.stmts.emplace_back();
  stmt.kind = kind;
  stmt.line = line;
  return &stmt;
}

void Parser::parse() { ast_.body = parse_body({}); }

// Statements up to a tag named in `ends`, whose name is then the current token; all of them when
// `ends` is empty.
Body Parser::parse_body(std::vector<std::string_view> ends) {
  const Nesting nesting(*this);
  Body body;
  for (;;) {
    const Token& token = current();
    if (token.type == TokenType::kData) {
      Stmt* text = make_stmt(StmtKind::kText, token.line);
      text->text = take().text;
      body.push_back(text);
    } else if (token.type == TokenType::kVariableBegin) {
      take();
      Stmt* output = make_stmt(StmtKind::kOutput, token.line);
      output->expr = parse_tuple({});
      expect_type(TokenType::kVariableEnd, "'}}'");
      body.push_back(output);
    } else if (token.type == TokenType::kBlockBegin) {
      take();
      const bool at_end = std::any_of(ends.begin(), ends.end(),
                                      [this](std::string_view end) { return at_name(end); });
      if (at_end) return body;
      parse_tag(&body);
      expect_type(TokenType::kBlockEnd, "'%}'");
    } else if (ends.empty()) {
      return body;
    } else {
      fail_at(token.line, "the template ends before {}", joined(ends));
    }
  }
}

// The rest of a tag, then its body.
Body Parser::parse_block(std::vector<std::string_view> ends) {
  skip_operator(":");
  expect_type(TokenType::kBlockEnd, "'%}'");
  return parse_body(std::move(ends));
}

void Parser::parse_tag(Body* body) {
  if (current().type != TokenType::kName) fail_here("the name of a tag");
  const std::string_view name = current().text;
  Stmt* stmt = nullptr;
  if (name == "if") {
    stmt = parse_if();
  } else if (name == "for") {
    stmt = parse_for();
  } else if (name == "set") {
    stmt = parse_set();
  } else if (name == "macro") {
    stmt = parse_macro();
  } else if (name == "call") {
    stmt = parse_call_block();
  } else if (name == "filter") {
    stmt = parse_filter_block();
  } else if (name == "with") {
    stmt = parse_with();
  } else if (name == "generation") {
    stmt = parse_generation();
  } else if (name == "break" || name == "continue") {
    stmt = parse_loop_control();
  } else if (name == "print") {
    return parse_print(body);
  } else {
    fail_at(current().line, "the tag '{}' is unknown or not supported", name);
  }
  body->push_back(stmt);
}

Stmt* Parser::parse_if() {
  const Scoped<bool> optional(&optional_code_, true);
  Stmt* stmt = make_stmt(StmtKind::kIf, current().line);
  TupleRules rules;
  rules.with_conditional = false;
  bool has_condition = true;
  for (;;) {
    take();  // if, elif or else
    Branch branch;
    if (has_condition) branch.condition = parse_tuple(rules);
    branch.body = has_condition ? parse_block({"elif", "else", "endif"}) : parse_block({"endif"});
    stmt->branches.push_back(std::move(branch));
    if (skip_name("endif")) return stmt;
    has_condition = at_name("elif");
  }
}

Stmt* Parser::parse_for() {
  Stmt* stmt = make_stmt(StmtKind::kFor, take().line);
  ++for_depth_;
  stmt->targets.push_back(parse_target("in", false));
  if (!skip_name("in")) fail_here("'in'");
  TupleRules rules;
  rules.with_conditional = false;
  rules.end_name = "recursive";
  stmt->expr = parse_tuple(rules);
  const Scoped<bool> optional(&optional_code_, false);
  if (skip_name("if")) stmt->condition = parse_expression();
  stmt->recursive = skip_name("recursive");
  ++loop_depth_;
  stmt->body = parse_block({"endfor", "else"});
  --loop_depth_;
  if (skip_name("else")) {
    stmt->other = parse_block({"endfor"});
  }
  take();
  --for_depth_;
  return stmt;
}

Stmt* Parser::parse_set() {
  const int line = take().line;
  Target target = parse_target({}, true);
  if (skip_operator("=")) {
    Stmt* stmt = make_stmt(StmtKind::kSet, line);
    stmt->targets.push_back(std::move(target));
    stmt->expr = parse_tuple({});
    return stmt;
  }
  const Scoped<bool> optional(&optional_code_, false);
  Stmt* stmt = make_stmt(StmtKind::kSetBlock, line);
  stmt->targets.push_back(std::move(target));
  if (at_operator("|")) stmt->expr = parse_filter(nullptr, false);
  stmt->body = parse_block({"endset"});
  take();
  return stmt;
}

void Parser::check_target_name(const Token& token) const {
  const std::string_view name = token.text;
  const bool constant = name == "true" || name == "True" || name == "false" || name == "False" ||
                        name == "none" || name == "None";
  if (constant) fail_at(token.line, "cannot assign to '{}'", name);
  if (name == "loop" && for_depth_ > 0) {
    fail_at(token.line, "cannot assign to the special variable 'loop' in a for loop");
  }
}

Target Parser::parse_single_target() {
  const Nesting nesting(*this);
  Target target;
  target.line = current().line;
  if (skip_operator("(")) {
    target = parse_target({}, false);
    expect_operator(")");
    return target;
  }
  if (current().type != TokenType::kName) fail_here("a name to assign to");
  const Token& token = take();
  check_target_name(token);
  target.symbol = symbol_of(token.text);
  return target;
}

// Names, separated by commas when a tuple is taken apart. `end_name` may follow a last comma.
Target Parser::parse_target(std::string_view end_name, bool with_namespace) {
  if (with_namespace && current().type == TokenType::kName &&
      look_ahead().type == TokenType::kOperator && look_ahead().text == ".") {
    Target target;
    target.line = current().line;
    target.symbol = symbol_of(take().text);
    take();
    target.attribute = expect_name();
    return target;
  }
  Target first = parse_single_target();
  if (!at_operator(",")) return first;
  Target tuple;
  tuple.line = first.line;
  tuple.is_tuple = true;
  tuple.parts.push_back(std::move(first));
  TupleRules rules;
  rules.end_name = end_name;
  while (skip_operator(",")) {
    if (at_tuple_end(rules)) break;
    tuple.parts.push_back(parse_single_target());
  }
  return tuple;
}

void Parser::parse_signature(MacroDefinition* macro) {
  expect_operator("(");
  while (!at_operator(")")) {
    if (!macro->parameters.empty()) expect_operator(",");
    Parameter parameter;
    const Token& token = current();
    parameter.name = expect_name();
    check_target_name(token);
    parameter.symbol = symbol_of(parameter.name);
    if (skip_operator("=")) {
      parameter.fallback = parse_expression();
    } else if (!macro->parameters.empty() && macro->parameters.back().fallback != nullptr) {
      fail_at(token.line, "parameter '{}' needs a default, as one before it has one",
              parameter.name);
    }
    const bool twice =
        std::any_of(macro->parameters.begin(), macro->parameters.end(),
                    [&](const Parameter& other) { return other.symbol == parameter.symbol; });
    if (twice) fail_at(token.line, "parameter '{}' is named twice", parameter.name);
    macro->parameters.push_back(parameter);
  }
  take();
}

void Parser::parse_macro_body(MacroDefinition* macro, std::string_view end) {
  const Scoped<bool> optional(&optional_code_, false);
  const Scoped<int> loops(&loop_depth_, 0);
  const int line = current().line;
  macro_uses_.emplace_back();
  macro->body = parse_block({end});
  take();
  MacroUse use = macro_uses_.back();
  macro_uses_.pop_back();
  for (const Parameter& parameter : macro->parameters) {
    if (parameter.name == "varargs") use.varargs = false;
    if (parameter.name == "kwargs") use.kwargs = false;
    if (parameter.name != "caller" || !use.caller) continue;
    use.caller = false;
    if (parameter.fallback == nullptr) {
      fail_at(line, "the special parameter 'caller' must have a default or be left out");
    }
  }
  macro->uses_caller = use.caller;
  macro->uses_varargs = use.varargs;
  macro->uses_kwargs = use.kwargs;
}

Stmt* Parser::parse_macro() {
  Stmt* stmt = make_stmt(StmtKind::kMacro, take().line);
  const Token& token = current();
  stmt->macro.name = expect_name();
  check_target_name(token);
  stmt->macro.symbol = symbol_of(stmt->macro.name);
  const Scoped<bool> optional(&optional_code_, false);
  parse_signature(&stmt->macro);
  parse_macro_body(&stmt->macro, "endmacro");
  return stmt;
}

Stmt* Parser::parse_call_block() {
  Stmt* stmt = make_stmt(StmtKind::kCallBlock, take().line);
  stmt->macro.name = "caller";
  if (at_operator("(")) parse_signature(&stmt->macro);
  stmt->expr = parse_expression();
  if (stmt->expr->kind != ExprKind::kCall) fail_at(stmt->line, "expected a call after 'call'");
  parse_macro_body(&stmt->macro, "endcall");
  return stmt;
}

Stmt* Parser::parse_filter_block() {
  Stmt* stmt = make_stmt(StmtKind::kFilterBlock, take().line);
  const Scoped<bool> optional(&optional_code_, false);
  stmt->expr = parse_filter(nullptr, true);
  stmt->body = parse_block({"endfilter"});
  take();
  return stmt;
}

Stmt* Parser::parse_with() {
  Stmt* stmt = make_stmt(StmtKind::kWith, take().line);
  while (current().type != TokenType::kBlockEnd) {
    if (!stmt->targets.empty()) expect_operator(",");
    stmt->targets.push_back(parse_target({}, false));
    expect_operator("=");
    stmt->values.push_back(parse_expression());
  }
  const Scoped<bool> optional(&optional_code_, false);
  stmt->body = parse_block({"endwith"});
  take();
  return stmt;
}

Stmt* Parser::parse_generation() {
  Stmt* stmt = make_stmt(StmtKind::kGeneration, take().line);
  const Scoped<bool> optional(&optional_code_, false);
  const Scoped<int> loops(&loop_depth_, 0);
  stmt->body = parse_block({"endgeneration"});
  take();
  return stmt;
}

void Parser::parse_print(Body* body) {
  const int line = take().line;
  for (bool first = true; current().type != TokenType::kBlockEnd; first = false) {
    if (!first) expect_operator(",");
    Stmt* output = make_stmt(StmtKind::kOutput, line);
    output->expr = parse_expression();
    body->push_back(output);
  }
}

Stmt* Parser::parse_loop_control() {
  const Token& token = take();
  const bool is_break = token.text == "break";
  if (loop_depth_ == 0) fail_at(token.line, "'{}' outside a loop", token.text);
  return make_stmt(is_break ? StmtKind::kBreak : StmtKind::kContinue, token.line);
}

void parse_template(std::string_view source, Ast* out) {
  tokenize(source, &out->tokenized);
  Parser(out).parse();
}

}  // namespace ferry::text::jinja
