// Runs a parsed template: scopes, loops, macros and expressions, with jinja2's rules.
//
// Scopes are a chain of frames. A loop body, macro, call block, filter block, set block and `with`
// open a frame of their own, `if` does not; assignment is always to the innermost one.
#pragma once

#include <ctime>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/jinja_ast.h"
#include "text/jinja_value.h"

namespace ferry::text::jinja {

struct Frame : Object {
  Frame* parent = nullptr;
  std::vector<std::pair<int, Value>> variables;
  bool captured = false;  // a macro looks into it: it must outlive its block

  const Value* find(int symbol) const;  // here, not in the parents
  void set(int symbol, const Value& value);
};

// Arguments of a call, after `*` and `**` have been spread.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> keywords;
};

struct MacroObject : Object {
  const MacroDefinition* definition = nullptr;
  Frame* scope = nullptr;
};

// The variable `loop`.
struct LoopObject : Object {
  Value source;
  Iteration iteration;
  std::function<bool(const Value&)> filter;  // the loop's own `if`; may be empty
  std::vector<Value> rest;                   // when filtered: what is left, once asked for length
  size_t rest_next = 0;
  bool is_drained = false;
  Value current, before, after;
  bool has_after = false;
  int64_t index0 = -1;
  int64_t depth0 = 0;
  const Stmt* recursive = nullptr;  // set when the loop may call itself
  Frame* scope = nullptr;
  Value changed;  // the arguments of the last loop.changed(), a tuple
  bool has_changed = false;

  bool advance();
  bool peek();  // fills `after`; false at the end
  int64_t length();

 private:
  bool pull(Value* out);
};

struct InterpreterOptions {
  HeapLimits heap;
  int64_t max_output_bytes = 0;
  std::optional<std::tm> local_time;  // absent: now
};

class Interpreter {
 public:
  Interpreter(const Ast& ast, const Json& context, const InterpreterOptions& options);

  // The rendered text. Throws JinjaError, whose line is set.
  std::string run();

  Heap& heap() { return heap_; }
  const InterpreterOptions& options() const { return options_; }

  Value call(const Value& callee, const Args& args);
  // environment.getattr and environment.getitem: undefined rather than an error when absent.
  Value get_attribute(const Value& object, std::string_view name);
  Value get_element(const Value& object, const Value& key);
  Value apply_filter(std::string_view name, const Value& subject, const Args& args);
  bool apply_test(std::string_view name, const Value& subject, const Args& args);
  std::string text_of(const Value& value);
  // A view of a string's own bytes; of other values' str(), kept in the heap.
  std::string_view text_view(const Value& value);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class Capture;

  // Statements (jinja_eval.cc).
  Flow run_body(const Body& body);
  Flow run_stmt(const Stmt& stmt);
  Flow run_if(const Stmt& stmt);
  Flow run_for(const Stmt& stmt);
  Flow run_loop(const Stmt& stmt, const Value& source, Frame* scope, int64_t depth0);
  std::function<bool(const Value&)> loop_filter(const Stmt& stmt, Frame* scope);
  Flow run_with(const Stmt& stmt);
  Flow run_set_block(const Stmt& stmt);
  Flow run_filter_block(const Stmt& stmt);
  void run_call_block(const Stmt& stmt);
  Value make_macro(const MacroDefinition& definition);
  Value call_macro(const MacroObject& macro, const Args& args);
  void bind_macro_parameters(const MacroDefinition& definition, const Args& args, Frame* frame);
  Value call_loop(LoopObject& loop, const Args& args);
  void assign(const Target& target, const Value& value);
  void write(std::string_view text);
  Frame* new_frame(Frame* parent);

  // Expressions (jinja_eval_expr.cc).
  Value evaluate(const Expr& expr);
  Value evaluate_node(const Expr& expr);
  Value evaluate_name(const Expr& expr);
  Value evaluate_items(const Expr& expr, Kind kind);
  Value evaluate_dict(const Expr& expr);
  Value evaluate_compare(const Expr& expr);
  Value evaluate_concat(const Expr& expr);
  Value evaluate_slice(const Expr& expr);
  Value evaluate_filter(const Expr& expr, const Value* subject);
  Args evaluate_arguments(const CallArguments& arguments);
  const Value& lookup_context(int symbol);

  // Attributes (jinja_attributes.cc).
  bool find_python_attribute(const Value& object, std::string_view name, Value* out);
  bool find_loop_attribute(LoopObject& loop, const Value& self, std::string_view name, Value* out);
  bool find_macro_attribute(const MacroObject& macro, std::string_view name, Value* out);
  Value method_of(const Value& self, std::string_view name);

  Heap heap_;
  const Ast& ast_;
  const Json& context_;
  InterpreterOptions options_;
  std::vector<std::optional<Value>> context_values_;  // by symbol, converted when first read
  Frame* frame_ = nullptr;
  std::string* out_ = nullptr;
  int line_ = 1;
};

// str(), repr() and json.dumps() (jinja_text.cc).
void append_str(Heap& heap, std::string* out, const Value& value);
void append_repr(Heap& heap, std::string* out, const Value& value);
std::string float_repr(double value);
struct JsonStyle {
  bool ensure_ascii = false;
  bool has_indent = false;
  std::string indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
void append_json(Heap& heap, std::string* out, const Value& value, const JsonStyle& style,
                 int level = 0);
std::string escape_html(std::string_view text);

// Operators (jinja_operators.cc).
Value binary_operation(Interpreter& interpreter, BinaryOp op, const Value& a, const Value& b);
Value negative(const Value& value);
Value positive(const Value& value);
Value slice(Heap& heap, const Value& value, const Value& start, const Value& stop,
            const Value& step);
Value concatenate(Heap& heap, const Value& a, const Value& b);  // str + str

// "..." % values and "...".format(...) (jinja_format.cc).
std::string format_percent(Interpreter& interpreter, std::string_view format, const Value& values);
std::string format_braces(Interpreter& interpreter, std::string_view format, const Args& args);

}  // namespace ferry::text::jinja
