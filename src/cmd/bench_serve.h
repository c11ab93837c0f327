// `ferry bench serve URL`, a command of the command `bench`.
#pragma once

#include "cmd/command.h"

namespace ferry::cmd {

void add_bench_serve(CLI::App& bench, Action& action);

}  // namespace ferry::cmd
