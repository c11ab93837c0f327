// What the files of cmd/ share. One file per command; each offers one function
//   void add_NAME(CLI::App& app, Action& action);
// that declares the subcommand and, when it is chosen, sets `action` to what it does. main.cc has
// the list. Actions return the exit code; they print results to stdout and everything else
// (progress, notes, errors) to stderr.
//
// Exit codes: 0 done · 1 the result is negative (a check failed) · 2 wrong input: flag, file, model
// · 3 operating system or network · 4 out of memory · 5 device · 130 interrupted.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace CLI {
class App;
}

namespace ferry::cmd {

using Action = std::function<int()>;

void add_run(CLI::App& app, Action& action);
void add_complete(CLI::App& app, Action& action);
void add_serve(CLI::App& app, Action& action);
void add_show(CLI::App& app, Action& action);
void add_ls(CLI::App& app, Action& action);
void add_pull(CLI::App& app, Action& action);
void add_pack(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_logits(CLI::App& app, Action& action);
void add_tokenize(CLI::App& app, Action& action);
void add_synth(CLI::App& app, Action& action);
void add_plan(CLI::App& app, Action& action);
void add_completion(CLI::App& app, Action& action);

// "ferry: <message>" on stderr, in one line, control characters escaped. Returns the exit code.
int fail(const Error& error);
int exit_code(ErrorKind kind);

// From now on a mapped file that another program has made shorter ends this one with a line that
// names it, and code 3, once what is missing is read.
void report_shortened_files();

// The result of a --json command on stdout, indented, with a newline.
void print_json(const Json& value);

// Escape sequences may be written to this stream: a terminal, and NO_COLOR is not set.
bool use_color(int file_descriptor);

// "13.97 MB", "1.38 GB": decimal units, as disks and links are sold.
std::string format_bytes(int64_t bytes);
// 6974208 → "6.97 M", 671026419200 → "671.03 B"
std::string format_count(int64_t count);

}  // namespace ferry::cmd
