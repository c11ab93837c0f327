// A whole file, or standard input, as text: prompts and small JSON files.
#pragma once

#include <string>

#include "base/result.h"

namespace ferry::cmd {

// `path` "-" is standard input. Errors: not there, not readable, more than 32 MiB.
Result<std::string> read_input(const std::string& path);

}  // namespace ferry::cmd
