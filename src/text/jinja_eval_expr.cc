// Expressions. See jinja_eval.h.
#include "text/jinja_builtins.h"
#include "text/jinja_eval.h"

namespace ferry::text::jinja {

Value Interpreter::evaluate(const Expr& expr) {
  const DepthGuard guard(heap_);
  heap_.step();
  return evaluate_node(expr);
}

Value Interpreter::evaluate_node(const Expr& expr) {
  line_ = expr.line;
  switch (expr.kind) {
    case ExprKind::kConstant: return expr.constant;
    case ExprKind::kName: return evaluate_name(expr);
    case ExprKind::kList: return evaluate_items(expr, Kind::kList);
    case ExprKind::kTuple: return evaluate_items(expr, Kind::kTuple);
    case ExprKind::kDict: return evaluate_dict(expr);
    case ExprKind::kAttribute: {
      const Value object = evaluate(*expr.a);
      line_ = expr.line;
      return get_attribute(object, expr.name);
    }
    case ExprKind::kElement: {
      const Value object = evaluate(*expr.a);
      const Value key = evaluate(*expr.b);
      line_ = expr.line;
      return get_element(object, key);
    }
    case ExprKind::kSlice: return evaluate_slice(expr);
    case ExprKind::kCall: {
      const Value callee = evaluate(*expr.a);
      const Args args = evaluate_arguments(expr.arguments);
      line_ = expr.line;
      return call(callee, args);
    }
    case ExprKind::kFilter: return evaluate_filter(expr, nullptr);
    case ExprKind::kTest: {
      const Value subject = evaluate(*expr.a);
      const Args args = evaluate_arguments(expr.arguments);
      line_ = expr.line;
      return Value::boolean_of(apply_test(expr.name, subject, args));
    }
    case ExprKind::kNot: return Value::boolean_of(!truthy(evaluate(*expr.a)));
    case ExprKind::kNegative: return negative(evaluate(*expr.a));
    case ExprKind::kPositive: return positive(evaluate(*expr.a));
    case ExprKind::kBinary: {
      const Value a = evaluate(*expr.a);
      const Value b = evaluate(*expr.b);
      line_ = expr.line;
      return binary_operation(*this, expr.op, a, b);
    }
    case ExprKind::kCompare: return evaluate_compare(expr);
    case ExprKind::kAnd: {
      const Value a = evaluate(*expr.a);
      return truthy(a) ? evaluate(*expr.b) : a;
    }
    case ExprKind::kOr: {
      const Value a = evaluate(*expr.a);
      return truthy(a) ? a : evaluate(*expr.b);
    }
    case ExprKind::kConditional:
      if (truthy(evaluate(*expr.b))) return evaluate(*expr.a);
      if (expr.c != nullptr) return evaluate(*expr.c);
      return Value::undefined_note(
          "the inline if-expression evaluated to false and no else section was defined");
    case ExprKind::kConcat: return evaluate_concat(expr);
  }
  return {};
}

Value Interpreter::evaluate_name(const Expr& expr) {
  for (const Frame* frame = frame_; frame != nullptr; frame = frame->parent) {
    if (const Value* value = frame->find(expr.symbol)) return *value;
    heap_.step();
  }
  return lookup_context(expr.symbol);
}

// The context is converted name by name, when first read; then come the built-in functions.
const Value& Interpreter::lookup_context(int symbol) {
  std::optional<Value>& slot = context_values_[static_cast<size_t>(symbol)];
  if (!slot) {
    const std::string_view name = ast_.symbols[static_cast<size_t>(symbol)];
    const auto it = context_.find(std::string(name));
    if (it != context_.end()) {
      slot = from_json(heap_, *it);
    } else if (const int function = find_function(name); function >= 0) {
      slot = Value::function_of(function);
    } else {
      slot = Value::undefined(name);
    }
  }
  return *slot;
}

Value Interpreter::evaluate_items(const Expr& expr, Kind kind) {
  std::vector<Value> items;
  items.reserve(expr.items.size());
  for (const Expr* item : expr.items) items.push_back(evaluate(*item));
  return heap_.list(std::move(items), kind);
}

Value Interpreter::evaluate_dict(const Expr& expr) {
  auto* dict = heap_.make<DictObject>();
  for (size_t i = 0; i + 1 < expr.items.size(); i += 2) {
    const Value key = evaluate(*expr.items[i]);
    const Value value = evaluate(*expr.items[i + 1]);
    dict->set(heap_, key, value);
  }
  return Value::object_of(Kind::kDict, dict);
}

Value Interpreter::evaluate_compare(const Expr& expr) {
  Value left = evaluate(*expr.a);
  bool holds = true;
  for (const Comparison& comparison : expr.comparisons) {
    const Value right = evaluate(*comparison.value);
    line_ = expr.line;
    switch (comparison.op) {
      case CompareOp::kEqual: holds = equal(heap_, left, right); break;
      case CompareOp::kNotEqual: holds = !equal(heap_, left, right); break;
      case CompareOp::kLess: holds = compare(heap_, Order::kLess, left, right); break;
      case CompareOp::kLessEqual: holds = compare(heap_, Order::kLessEqual, left, right); break;
      case CompareOp::kGreater: holds = compare(heap_, Order::kGreater, left, right); break;
      case CompareOp::kGreaterEqual:
        holds = compare(heap_, Order::kGreaterEqual, left, right);
        break;
      case CompareOp::kIn: holds = contains(heap_, right, left); break;
      case CompareOp::kNotIn: holds = !contains(heap_, right, left); break;
    }
    if (!holds) break;
    left = right;
  }
  return Value::boolean_of(holds);
}

Value Interpreter::evaluate_concat(const Expr& expr) {
  std::vector<Value> parts;
  for (const Expr* item : expr.items) parts.push_back(evaluate(*item));
  line_ = expr.line;
  std::string text;
  for (const Value& part : parts) append_str(heap_, &text, part);
  return heap_.string(text);
}

Value Interpreter::evaluate_slice(const Expr& expr) {
  const Value object = evaluate(*expr.a);
  Value parts[3];
  for (size_t i = 0; i < 3; ++i) {
    parts[i] = expr.items[i] != nullptr ? evaluate(*expr.items[i]) : Value::none();
  }
  line_ = expr.line;
  return slice(heap_, object, parts[0], parts[1], parts[2]);
}

// `subject` replaces the innermost missing operand, at the head of a filter block.
Value Interpreter::evaluate_filter(const Expr& expr, const Value* subject) {
  Value value;
  if (expr.a == nullptr) {
    value = *subject;
  } else if (expr.a->kind == ExprKind::kFilter) {
    const DepthGuard guard(heap_);
    value = evaluate_filter(*expr.a, subject);
  } else {
    value = evaluate(*expr.a);
  }
  const Args args = evaluate_arguments(expr.arguments);
  line_ = expr.line;
  return apply_filter(expr.name, value, args);
}

Args Interpreter::evaluate_arguments(const CallArguments& arguments) {
  Args args;
  for (const Expr* expr : arguments.positional) args.positional.push_back(evaluate(*expr));
  if (arguments.starred != nullptr) {
    const std::vector<Value> more = to_vector(heap_, evaluate(*arguments.starred));
    args.positional.insert(args.positional.end(), more.begin(), more.end());
  }
  for (const Keyword& keyword : arguments.keywords) {
    args.keywords.emplace_back(keyword.name, evaluate(*keyword.value));
  }
  if (arguments.double_starred != nullptr) {
    const Value more = evaluate(*arguments.double_starred);
    if (!more.is(Kind::kDict)) fail("argument after ** must be a mapping");
    for (const auto& [key, value] : more.dict().entries) {
      if (!key.is_string()) fail("keywords must be strings");
      for (const auto& [name, unused] : args.keywords) {
        if (name == key.text) fail("keyword argument '{}' is given twice", name);
      }
      args.keywords.emplace_back(key.text, value);
    }
  }
  return args;
}

std::string Interpreter::text_of(const Value& value) {
  std::string text;
  append_str(heap_, &text, value);
  return text;
}

std::string_view Interpreter::text_view(const Value& value) {
  if (value.is_string()) return value.text;
  if (value.is(Kind::kUndefined)) return {};
  return heap_.copy(text_of(value));
}

}  // namespace ferry::text::jinja
