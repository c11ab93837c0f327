// Tokens to Ast, with jinja2's grammar. Nesting is bounded; what jinja2 has and ferry has not
// (inheritance, includes, translations) is refused by name.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/jinja_ast.h"

namespace ferry::text::jinja {

// Throws JinjaError with the line.
void parse_template(std::string_view source, Ast* out);

// The parser's state and its expression half; statements are in jinja_parser_statements.cc.
class Parser {
 public:
  explicit Parser(Ast* ast);
  void parse();

 private:
  class Nesting;

  // Tokens.
  const Token& current() const { return tokens_[at_]; }
  const Token& look_ahead() const { return tokens_[at_ + (at_ + 1 < tokens_.size() ? 1 : 0)]; }
  const Token& take();
  bool at_operator(std::string_view text) const;
  bool at_name(std::string_view text) const;
  bool skip_operator(std::string_view text);
  bool skip_name(std::string_view text);
  void expect_operator(std::string_view text);
  std::string_view expect_name();
  void expect_type(TokenType type, std::string_view what);
  [[noreturn]] void fail_here(std::string_view expected) const;

  int symbol_of(std::string_view name);
  Expr* make_expr(ExprKind kind, int line);
  Stmt* make_stmt(StmtKind kind, int line);

  // Expressions, loosest first.
  Expr* parse_expression(bool with_conditional = true);
  Expr* parse_conditional();
  Expr* parse_or();
  Expr* parse_and();
  Expr* parse_not();
  Expr* parse_compare();
  Expr* parse_sum();
  Expr* parse_concat();
  Expr* parse_product();
  Expr* parse_power();
  Expr* parse_unary(bool with_filter = true);
  Expr* parse_primary();
  Expr* parse_name();
  Expr* parse_string();
  Expr* parse_list();
  Expr* parse_dict();
  Expr* parse_postfix(Expr* node);
  Expr* parse_filters_and_tests(Expr* node);
  Expr* parse_subscript(Expr* node);
  Expr* parse_slice_or_index(Expr* node, int line);
  Expr* parse_call(Expr* node);
  void parse_call_arguments(CallArguments* out);
  Expr* parse_filter(Expr* node, bool started);
  Expr* parse_test(Expr* node);
  Expr* binary(BinaryOp op, Expr* a, Expr* b, int line);
  struct TupleRules {
    bool with_conditional = true;
    bool explicit_parentheses = false;
    std::string_view end_name;  // a name that ends the tuple
  };
  Expr* parse_tuple(const TupleRules& rules);
  bool at_tuple_end(const TupleRules& rules) const;

  // Statements.
  Body parse_body(std::vector<std::string_view> ends);
  Body parse_block(std::vector<std::string_view> ends);
  void parse_tag(Body* body);
  Stmt* parse_if();
  Stmt* parse_for();
  Stmt* parse_set();
  Stmt* parse_macro();
  Stmt* parse_call_block();
  Stmt* parse_filter_block();
  Stmt* parse_with();
  void parse_print(Body* body);
  Stmt* parse_generation();
  Stmt* parse_loop_control();
  void parse_signature(MacroDefinition* macro);
  void parse_macro_body(MacroDefinition* macro, std::string_view end);
  Target parse_target(std::string_view end_name, bool with_namespace);
  Target parse_single_target();
  void check_target_name(const Token& token) const;

  // What the macros being parsed read of the names a call brings along.
  struct MacroUse {
    bool caller = false, varargs = false, kwargs = false;
  };

  Ast& ast_;
  const std::vector<Token>& tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loop_depth_ = 0;
  int for_depth_ = 0;
  bool optional_code_ = false;  // inside {% if %} or a conditional: unknown filters wait
  std::vector<MacroUse> macro_uses_;
  std::unordered_map<std::string_view, int> symbol_ids_;
};

}  // namespace ferry::text::jinja
