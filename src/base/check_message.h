// For the fuzzers and mutation tests: whatever the input holds, an error says why it was refused in
// one line of UTF-8.
#pragma once

#include <string_view>

#include "base/check.h"
#include "base/quote_name.h"
#include "base/result.h"

namespace ferry {

inline void check_message(std::string_view message) {
  CHECK(!message.empty());
  CHECK(is_one_line(message));
}

// Whether there is a value; if not, that the error is fit to be shown.
template <typename T>
bool ok_or_told(const Result<T>& result) {
  if (!result.ok()) check_message(result.error().message);
  return result.ok();
}

}  // namespace ferry
