#include "cmd/command.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

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

}  // namespace ferry::cmd
