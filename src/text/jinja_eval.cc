// Statements: output, scopes, loops and macros. See jinja_eval.h.
#include "text/jinja_eval.h"

#include <algorithm>

namespace ferry::text::jinja {

LoopObject& Value::loop() const { return *static_cast<LoopObject*>(object); }
MacroObject& Value::macro() const { return *static_cast<MacroObject*>(object); }

const Value* Frame::find(int symbol) const {
  for (const auto& [name, value] : variables) {
    if (name == symbol) return &value;
  }
  return nullptr;
}

void Frame::set(int symbol, const Value& value) {
  for (auto& [name, old] : variables) {
    if (name == symbol) {
      old = value;
      return;
    }
  }
  variables.emplace_back(symbol, value);
}

bool LoopObject::pull(Value* out) {
  if (is_drained) {
    if (rest_next >= rest.size()) return false;
    *out = rest[rest_next++];
    return true;
  }
  while (iteration.next(out)) {
    if (!filter || filter(*out)) return true;
  }
  return false;
}

bool LoopObject::peek() {
  if (!has_after) has_after = pull(&after);
  return has_after;
}

bool LoopObject::advance() {
  if (!peek()) return false;
  has_after = false;
  before = current;
  current = after;
  ++index0;
  return true;
}

int64_t LoopObject::length() {
  const int64_t seen = index0 + 1 + (has_after ? 1 : 0);
  if (filter) {
    if (!is_drained) {
      for (Value item; pull(&item);) rest.push_back(item);
      is_drained = true;
    }
    return static_cast<int64_t>(rest.size() - rest_next) + seen;
  }
  if (!source.is(Kind::kIterator)) return text::jinja::length(source);
  const IteratorObject& iterator = source.iterator();
  return static_cast<int64_t>(iterator.items.size() - iterator.next) + seen;
}

// While it lives, output goes to a buffer of its own and names are looked up from `frame`.
class Interpreter::Capture {
 public:
  Capture(Interpreter& interpreter, Frame* frame, std::string* buffer)
      : interpreter_(interpreter), frame_(interpreter.frame_), out_(interpreter.out_) {
    interpreter.frame_ = frame;
    if (buffer != nullptr) interpreter.out_ = buffer;
  }
  ~Capture() {
    interpreter_.frame_ = frame_;
    interpreter_.out_ = out_;
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

 private:
  Interpreter& interpreter_;
  Frame* frame_;
  std::string* out_;
};

Interpreter::Interpreter(const Ast& ast, const Json& context, const InterpreterOptions& options)
    : heap_(options.heap),
      ast_(ast),
      context_(context),
      options_(options),
      context_values_(ast.symbols.size()) {}

std::string Interpreter::run() {
  std::string text;
  try {
    const Capture capture(*this, new_frame(nullptr), &text);
    run_body(ast_.body);
  } catch (JinjaError& error) {
    if (error.line == 0) error.line = line_;
    throw;
  }
  return text;
}

Frame* Interpreter::new_frame(Frame* parent) {
  auto* frame = heap_.make<Frame>();
  frame->parent = parent;
  return frame;
}

void Interpreter::write(std::string_view text) {
  heap_.charge_bytes(static_cast<int64_t>(text.size()));
  if (static_cast<int64_t>(out_->size() + text.size()) > options_.max_output_bytes) {
    fail("the output is longer than {} bytes", options_.max_output_bytes);
  }
  out_->append(text);
}

Interpreter::Flow Interpreter::run_body(const Body& body) {
  const DepthGuard guard(heap_);
  for (const Stmt* stmt : body) {
    const Flow flow = run_stmt(*stmt);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_stmt(const Stmt& stmt) {
  heap_.step();
  line_ = stmt.line;
  switch (stmt.kind) {
    case StmtKind::kText: write(stmt.text); return Flow::kNext;
    case StmtKind::kOutput: {
      const Value value = evaluate(*stmt.expr);
      write(text_view(value));
      return Flow::kNext;
    }
    case StmtKind::kIf: return run_if(stmt);
    case StmtKind::kFor: return run_for(stmt);
    case StmtKind::kSet: assign(stmt.targets[0], evaluate(*stmt.expr)); return Flow::kNext;
    case StmtKind::kSetBlock: return run_set_block(stmt);
    case StmtKind::kMacro:
      frame_->set(stmt.macro.symbol, make_macro(stmt.macro));
      return Flow::kNext;
    case StmtKind::kCallBlock: run_call_block(stmt); return Flow::kNext;
    case StmtKind::kFilterBlock: return run_filter_block(stmt);
    case StmtKind::kWith: return run_with(stmt);
    case StmtKind::kGeneration: {
      const Capture capture(*this, new_frame(frame_), nullptr);
      return run_body(stmt.body);
    }
    case StmtKind::kBreak: return Flow::kBreak;
    case StmtKind::kContinue: return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_if(const Stmt& stmt) {
  for (const Branch& branch : stmt.branches) {
    if (branch.condition == nullptr || truthy(evaluate(*branch.condition))) {
      return run_body(branch.body);
    }
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_for(const Stmt& stmt) {
  const Value source = evaluate(*stmt.expr);
  return run_loop(stmt, source, frame_, 0);
}

// The loop's own `if`, which sees the target but not `loop`. It runs item by item, between the
// rounds of the loop.
std::function<bool(const Value&)> Interpreter::loop_filter(const Stmt& stmt, Frame* scope) {
  if (stmt.condition == nullptr) return nullptr;
  Frame* frame = new_frame(scope);
  return [this, &stmt, frame](const Value& item) {
    const Capture capture(*this, frame, nullptr);
    frame->variables.clear();
    assign(stmt.targets[0], item);
    return truthy(evaluate(*stmt.condition));
  };
}

Interpreter::Flow Interpreter::run_loop(const Stmt& stmt, const Value& source, Frame* scope,
                                        int64_t depth0) {
  auto* loop = heap_.make<LoopObject>();
  loop->source = source;
  loop->filter = loop_filter(stmt, scope);
  loop->iteration = Iteration(heap_, source);
  loop->depth0 = depth0;
  loop->recursive = stmt.recursive ? &stmt : nullptr;
  loop->scope = scope;
  bool completed = false;
  Frame* frame = nullptr;
  while (loop->advance()) {
    if (frame == nullptr || frame->captured) frame = new_frame(scope);
    frame->variables.clear();
    frame->set(ast_.symbol_loop, Value::object_of(Kind::kLoop, loop));
    const Capture capture(*this, frame, nullptr);
    assign(stmt.targets[0], loop->current);
    const Flow flow = run_body(stmt.body);
    if (flow == Flow::kBreak) break;
    completed |= flow == Flow::kNext;
  }
  // As in jinja2, the else branch runs unless some round came to the end of the body.
  if (completed || stmt.other.empty()) return Flow::kNext;
  const Capture capture(*this, new_frame(scope), nullptr);
  return run_body(stmt.other);
}

Value Interpreter::call_loop(LoopObject& loop, const Args& args) {
  if (loop.recursive == nullptr) fail("the loop must be marked 'recursive' to be called");
  if (args.positional.size() != 1 || !args.keywords.empty()) fail("loop() takes one iterable");
  const DepthGuard guard(heap_);
  std::string text;
  const Capture capture(*this, loop.scope, &text);
  run_loop(*loop.recursive, args.positional[0], loop.scope, loop.depth0 + 1);
  return heap_.string(text);
}

Interpreter::Flow Interpreter::run_with(const Stmt& stmt) {
  std::vector<Value> values;
  for (const Expr* expr : stmt.values) values.push_back(evaluate(*expr));
  const Capture capture(*this, new_frame(frame_), nullptr);
  for (size_t i = 0; i < values.size(); ++i) assign(stmt.targets[i], values[i]);
  return run_body(stmt.body);
}

Interpreter::Flow Interpreter::run_set_block(const Stmt& stmt) {
  std::string text;
  Value value;
  {
    const Capture capture(*this, new_frame(frame_), &text);
    if (const Flow flow = run_body(stmt.body); flow != Flow::kNext) return flow;
    value = heap_.string(text);
    if (stmt.expr != nullptr) value = evaluate_filter(*stmt.expr, &value);
  }
  assign(stmt.targets[0], value);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_filter_block(const Stmt& stmt) {
  std::string text;
  Value value;
  {
    const Capture capture(*this, new_frame(frame_), &text);
    if (const Flow flow = run_body(stmt.body); flow != Flow::kNext) return flow;
    value = heap_.string(text);
    value = evaluate_filter(*stmt.expr, &value);
  }
  write(text_view(value));
  return Flow::kNext;
}

void Interpreter::run_call_block(const Stmt& stmt) {
  const Expr& call_expr = *stmt.expr;
  const Value callee = evaluate(*call_expr.a);
  Args args = evaluate_arguments(call_expr.arguments);
  args.keywords.emplace_back("caller", make_macro(stmt.macro));
  line_ = stmt.line;
  write(text_view(call(callee, args)));
}

Value Interpreter::make_macro(const MacroDefinition& definition) {
  auto* macro = heap_.make<MacroObject>();
  macro->definition = &definition;
  macro->scope = frame_;
  for (Frame* frame = frame_; frame != nullptr && !frame->captured; frame = frame->parent) {
    frame->captured = true;
  }
  return Value::object_of(Kind::kMacro, macro);
}

// Fills `frame` with parameters, varargs, kwargs and caller.
void Interpreter::bind_macro_parameters(const MacroDefinition& definition, const Args& args,
                                        Frame* frame) {
  std::vector<std::pair<std::string_view, Value>> rest = args.keywords;
  const auto take_keyword = [&rest](std::string_view name, Value* out) {
    const auto it = std::find_if(rest.begin(), rest.end(),
                                 [&](const auto& keyword) { return keyword.first == name; });
    if (it == rest.end()) return false;
    *out = it->second;
    rest.erase(it);
    return true;
  };
  size_t position = 0;
  for (const Parameter& parameter : definition.parameters) {
    Value value;
    if (position < args.positional.size()) {
      value = args.positional[position++];
    } else if (!take_keyword(parameter.name, &value)) {
      value = parameter.fallback != nullptr
                  ? evaluate(*parameter.fallback)
                  : Value::undefined_note(
                        heap_.copy(fmt::format("parameter '{}' was not provided", parameter.name)));
    }
    frame->set(parameter.symbol, value);
  }
  if (definition.uses_caller) {
    Value caller = Value::undefined_note("no caller defined");
    take_keyword("caller", &caller);
    frame->set(ast_.symbol_caller, caller);
  }
  if (definition.uses_kwargs) {
    auto* dict = heap_.make<DictObject>();
    for (const auto& [name, value] : rest) dict->set(heap_, Value::string(name), value);
    frame->set(ast_.symbol_kwargs, Value::object_of(Kind::kDict, dict));
  } else if (!rest.empty()) {
    fail("macro '{}' takes no keyword argument '{}'", definition.name, rest[0].first);
  }
  std::vector<Value> extra(args.positional.begin() + static_cast<int64_t>(position),
                           args.positional.end());
  if (definition.uses_varargs) {
    frame->set(ast_.symbol_varargs, heap_.list(std::move(extra), Kind::kTuple));
  } else if (!extra.empty()) {
    fail("macro '{}' takes not more than {} arguments", definition.name,
         definition.parameters.size());
  }
}

Value Interpreter::call_macro(const MacroObject& macro, const Args& args) {
  const DepthGuard guard(heap_);
  const int line = line_;
  std::string text;
  Frame* frame = new_frame(macro.scope);
  {
    const Capture capture(*this, frame, &text);
    bind_macro_parameters(*macro.definition, args, frame);
    run_body(macro.definition->body);
  }
  line_ = line;
  return heap_.string(text);
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    Iteration iteration(heap_, value);
    std::vector<Value> items;
    for (Value item; items.size() <= target.parts.size() && iteration.next(&item);) {
      items.push_back(item);
    }
    if (items.size() != target.parts.size()) {
      fail("{} values to unpack, expected {}",
           items.size() < target.parts.size() ? "not enough" : "too many", target.parts.size());
    }
    for (size_t i = 0; i < items.size(); ++i) assign(target.parts[i], items[i]);
    return;
  }
  if (target.attribute.empty()) {
    frame_->set(target.symbol, value);
    return;
  }
  Expr name;
  name.symbol = target.symbol;
  name.name = ast_.symbols[static_cast<size_t>(target.symbol)];
  const Value object = evaluate_name(name);
  if (!object.is(Kind::kNamespace)) fail("cannot assign an attribute of a non-namespace object");
  object.ns().attributes->set(heap_, Value::string(target.attribute), value);
}

}  // namespace ferry::text::jinja
