// Folder: the files of one model by name, on disk or in memory, so that the built-in model is read
// by the same code as one the user brings.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "disk/mapped_file.h"

namespace ferry::disk {

// One file of a model that is part of the program.
struct MemoryFile {
  std::string name;
  std::span<const uint8_t> bytes;
};

class Folder {
 public:
  // Error: not there, or not a directory.
  static Result<Folder> on_disk(const std::string& path);
  // REQUIRES: the bytes outlive the folder and everything read from it.
  static Folder in_memory(std::string path, std::vector<MemoryFile> files);

  const std::string& path() const { return path_; }
  std::string path_of(std::string_view name) const;  // for messages and open
  bool has(std::string_view name) const;             // a file of that name
  std::vector<std::string> names() const;            // sorted; files only
  int64_t file_bytes(std::string_view name) const;   // 0 if it is not there

  Result<std::shared_ptr<const MappedFile>> open(std::string_view name) const;
  Result<std::string> read_text(std::string_view name, int64_t max_bytes = 256 << 20) const;
  // A JSON object. Errors begin with the path of the file.
  Result<Json> read_json(std::string_view name) const;

 private:
  std::string path_;
  bool in_memory_ = false;
  std::vector<MemoryFile> files_;
};

// "a/b/c.gguf" → {"a/b", "c.gguf"}; "c.gguf" → {".", "c.gguf"}.
std::pair<std::string, std::string> split_path(const std::string& path);

// True for a plain file name: not empty, no '/', no control characters, UTF-8, not "." or "..".
bool is_plain_file_name(std::string_view name);

}  // namespace ferry::disk
