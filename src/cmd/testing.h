// For tests of commands: the binary that was built, and what it prints.
#pragma once

#include <cstdio>
#include <string>

#include "base/check.h"

namespace ferry::cmd::testing {

struct Printed {
  std::string text;  // standard output and standard error
  bool failed = false;
};

// `arguments` as a shell takes them.
inline Printed run_ferry(const std::string& arguments) {
  FILE* pipe = popen((std::string(FERRY_BINARY) + " " + arguments + " 2>&1").c_str(), "r");
  CHECK(pipe != nullptr);
  Printed printed;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) printed.text.append(buffer, n);
  printed.failed = pclose(pipe) != 0;
  return printed;
}

}  // namespace ferry::cmd::testing
