// Filters, tests and functions by name, and how their arguments are matched to parameters.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_eval.h"

namespace ferry::text::jinja {

bool is_filter(std::string_view name);
bool is_test(std::string_view name);
// What to say of a name that is no filter: unknown, or known to jinja2 and not supported here.
std::string unknown_filter_message(std::string_view name);

// The number of a built-in function, as Value::function holds it; -1 when there is none.
int find_function(std::string_view name);
Value call_function(Interpreter& interpreter, int function, const Args& args);
// A method that find_python_attribute() has found.
Value call_method(Interpreter& interpreter, const MethodObject& method, const Args& args);
Value call_string_method(Interpreter& interpreter, const Value& self, std::string_view name,
                         const Args& args);
bool is_string_method(std::string_view name);

// Arguments matched to parameter names; what does not match is an error.
class Bound {
 public:
  // The first `num_required` must be given. `what` names the callee in messages.
  Bound(std::string_view what, const Args& args, std::initializer_list<std::string_view> names,
        size_t num_required = 0);

  // Given, and not none.
  bool has(size_t i) const { return values_[i] && !values_[i]->is(Kind::kNone); }
  bool is_given(size_t i) const { return values_[i].has_value(); }
  // REQUIRES: is_given(i)
  const Value& operator[](size_t i) const { return *values_[i]; }
  Value value_or(size_t i, const Value& fallback) const {
    return is_given(i) ? *values_[i] : fallback;
  }
  bool truth_or(size_t i, bool fallback) const {
    return is_given(i) ? truthy(*values_[i]) : fallback;
  }
  // Throws when the argument is not an integer of 64 bits, or not a string.
  int64_t integer_or(size_t i, int64_t fallback) const;
  std::string_view string_or(size_t i, std::string_view fallback) const;

 private:
  std::string_view what_;
  std::vector<std::optional<Value>> values_;
};

using Filter = Value (*)(Interpreter& interpreter, const Value& subject, const Args& args);
struct FilterEntry {
  std::string_view name;
  Filter filter;
};
// nullptr when the file has none of that name.
Filter find_text_filter(std::string_view name);
Filter find_number_filter(std::string_view name);
Filter find_sequence_filter(std::string_view name);

// One item of `attribute` paths such as "address.city" or 0.
Value attribute_path(Interpreter& interpreter, const Value& item, const Value& path);

}  // namespace ferry::text::jinja
