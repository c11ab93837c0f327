// Names for what is kept about files elsewhere (looked_through.h, packed_copy.h).
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <functional>
#include <string>

namespace ferry::weights {

// The one path of a file that goes by several: absolute, links followed.
inline std::string canonical_path(const std::string& path) {
  std::error_code failed;
  const std::filesystem::path whole = std::filesystem::weakly_canonical(path, failed);
  return failed ? path : whole.string();
}

// 16 hexadecimal digits for a path, or several.
inline std::string path_key(const std::string& paths) {
  return fmt::format("{:016x}", std::hash<std::string>{}(paths));
}

}  // namespace ferry::weights
