// CHECK: for what can only be a bug in ferry. Never for anything that comes from outside: that is
// a Result. A failed CHECK prints the condition and its place and aborts.
#pragma once

namespace ferry {

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace ferry

#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::ferry::check_failed(#condition, __FILE__, __LINE__))
