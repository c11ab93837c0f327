// A parsed template: expressions and statements, all owned by one Ast, pointing at each other.
//
// Names are numbered once per template, so that looking one up at run time compares integers.
#pragma once

#include <deque>
#include <string_view>
#include <vector>

#include "text/jinja_lexer.h"
#include "text/jinja_value.h"

namespace ferry::text::jinja {

enum class ExprKind : uint8_t {
  kConstant,   // constant
  kName,       // symbol, name
  kList,       // items
  kTuple,      // items
  kDict,       // items: key, value, key, value, ...
  kAttribute,  // a.name
  kElement,    // a[b]
  kSlice,      // a[items[0]:items[1]:items[2]], each may be null
  kCall,       // a(arguments)
  kFilter,     // a|name(arguments); a is null at the head of a filter block
  kTest,       // a is name(arguments)
  kNot,        // not a
  kNegative,   // -a
  kPositive,   // +a
  kBinary,     // a op b
  kCompare,    // a, then comparisons
  kAnd,
  kOr,
  kConditional,  // a if b else c; c may be null
  kConcat,       // items joined by ~
};

enum class BinaryOp : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower
};

enum class CompareOp : uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Expr;

struct Keyword {
  std::string_view name;
  Expr* value = nullptr;
};

struct Comparison {
  CompareOp op = CompareOp::kEqual;
  Expr* value = nullptr;
};

struct CallArguments {
  std::vector<Expr*> positional;
  std::vector<Keyword> keywords;
  Expr* starred = nullptr;         // *args
  Expr* double_starred = nullptr;  // **kwargs
};

struct Expr {
  ExprKind kind = ExprKind::kConstant;
  BinaryOp op = BinaryOp::kAdd;
  int line = 0;
  int symbol = -1;
  std::string_view name;
  Value constant;
  Expr* a = nullptr;
  Expr* b = nullptr;
  Expr* c = nullptr;
  std::vector<Expr*> items;
  std::vector<Comparison> comparisons;
  CallArguments arguments;
};

struct Stmt;
using Body = std::vector<Stmt*>;

// Where a value goes: a name, an attribute of a namespace, or several of these.
struct Target {
  int line = 0;
  int symbol = -1;
  std::string_view attribute;  // not empty: symbol.attribute
  bool is_tuple = false;
  std::vector<Target> parts;  // when is_tuple
};

struct Parameter {
  int symbol = -1;
  std::string_view name;
  Expr* fallback = nullptr;
};

// A macro, or the body of a call block, which the called macro sees as `caller`.
struct MacroDefinition {
  std::string_view name;
  int symbol = -1;
  std::vector<Parameter> parameters;
  Body body;
  bool uses_caller = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

enum class StmtKind : uint8_t {
  kText,         // text
  kOutput,       // expr
  kIf,           // branches; the one without condition is the else
  kFor,          // target in expr if condition: body, else other
  kSet,          // target = expr
  kSetBlock,     // target = body through filter expr (may be null)
  kMacro,        // macro
  kCallBlock,    // expr is the call, macro the body
  kFilterBlock,  // body through filter expr
  kWith,         // targets, values, body
  kGeneration,   // body: marks what the model wrote; no effect on the text
  kBreak,
  kContinue,
};

struct Branch {
  Expr* condition = nullptr;
  Body body;
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  int line = 0;
  std::string_view text;
  Expr* expr = nullptr;
  Expr* condition = nullptr;
  bool recursive = false;
  std::vector<Target> targets;
  std::vector<Expr*> values;
  std::vector<Branch> branches;
  Body body;
  Body other;
  MacroDefinition macro;
};

struct Ast {
  TokenizedTemplate tokenized;
  std::deque<Expr> exprs;
  std::deque<Stmt> stmts;
  std::vector<std::string_view> symbols;
  Body body;
  int symbol_loop = -1, symbol_caller = -1, symbol_varargs = -1, symbol_kwargs = -1;
};

}  // namespace ferry::text::jinja
