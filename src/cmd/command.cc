#include "cmd/command.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "disk/mapped_file.h"

namespace ferry::cmd {
namespace {

std::string scaled(double value, double step, std::initializer_list<const char*> units) {
  auto unit = units.begin();
  while (value >= step && unit + 1 != units.end()) {
    value /= step;
    ++unit;
  }
  const bool whole = unit == units.begin();
  return whole ? fmt::format("{:.0f} {}", value, *unit) : fmt::format("{:.2f} {}", value, *unit);
}

// A file or tensor name may hold anything; a terminal must not act on it.
std::string printable(std::string_view text) {
  std::string out;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

// Only the signal-safe: the thread may hold any lock. A SIGBUS of anything else is what it was.
void on_bus_error(int signal, siginfo_t* info, void*) {
  const char* const path = disk::map_at(info->si_addr);
  if (path == nullptr) {
    struct sigaction action = {};
    action.sa_handler = SIG_DFL;
    sigaction(signal, &action, nullptr);  // the read is tried again
    return;
  }
  static std::atomic_flag said;
  while (said.test_and_set()) pause();  // another thread says it
  for (const char* part :
       {"ferry: ", path,
        ": has become shorter, or can't be read any more, while it was in use; start again once it "
        "is whole\n"}) {
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, part, std::strlen(part));
  }
  _exit(exit_code(ErrorKind::kIo));
}

}  // namespace

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidInput:
    case ErrorKind::kNotFound:
    case ErrorKind::kUnsupported: return 2;
    case ErrorKind::kOutOfMemory: return 4;
    case ErrorKind::kDevice: return 5;
    case ErrorKind::kCancelled: return 130;
    default: return 3;
  }
}

int fail(const Error& error) {
  std::fflush(stdout);
  std::fprintf(stderr, "ferry: %s\n", printable(error.message).c_str());
  return exit_code(error.kind);
}

void print_json(const Json& value) {
  // Invalid UTF-8 (raw bytes of a token) becomes U+FFFD rather than an exception.
  std::puts(value.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
}

bool use_color(int file_descriptor) {
  const char* no_color = std::getenv("NO_COLOR");
  return (no_color == nullptr || *no_color == '\0') && isatty(file_descriptor) == 1;
}

std::string format_bytes(int64_t bytes) {
  return scaled(static_cast<double>(bytes), 1000, {"B", "kB", "MB", "GB", "TB", "PB"});
}

std::string format_count(int64_t count) {
  std::string text = scaled(static_cast<double>(count), 1000, {"", "K", "M", "B", "T"});
  if (text.back() == ' ') text.pop_back();
  return text;
}

void report_shortened_files() {
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace ferry::cmd
