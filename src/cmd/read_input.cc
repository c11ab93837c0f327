// See read_input.h.
#include "cmd/read_input.h"

#include <cstdio>
#include <memory>

namespace ferry::cmd {
namespace {

constexpr size_t kMaxBytes = 32 << 20;

}  // namespace

Result<std::string> read_input(const std::string& path) {
  const bool standard = path == "-";
  const std::string name = standard ? "standard input" : path;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> owned(
      standard ? nullptr : std::fopen(path.c_str(), "rb"), std::fclose);
  std::FILE* file = standard ? stdin : owned.get();
  if (file == nullptr) return not_found("{}: can't be opened", name);
  std::string text;
  char buffer[65536];
  for (size_t count; (count = std::fread(buffer, 1, sizeof buffer, file)) > 0;) {
    text.append(buffer, count);
    if (text.size() > kMaxBytes) {
      return invalid_input("{}: more than {} bytes", name, kMaxBytes);
    }
  }
  if (std::ferror(file) != 0) return io_error("{}: can't be read", name);
  return text;
}

}  // namespace ferry::cmd
