// See folder.h.
#include "disk/folder.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/quote_name.h"

namespace ferry::disk {

namespace fs = std::filesystem;

Result<Folder> Folder::on_disk(const std::string& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) return not_found("{}: no such directory", path);
  if (error) return io_error("{}: {}", path, error.message());
  if (!fs::is_directory(status)) return invalid_input("{}: expected a directory", path);
  Folder folder;
  folder.path_ = path;
  return folder;
}

Folder Folder::in_memory(std::string path, std::vector<MemoryFile> files) {
  Folder folder;
  folder.path_ = std::move(path);
  folder.in_memory_ = true;
  folder.files_ = std::move(files);
  return folder;
}

std::string Folder::path_of(std::string_view name) const {
  if (path_.empty() || path_ == ".") return std::string(name);
  return fmt::format("{}{}{}", path_, path_.back() == '/' ? "" : "/", name);
}

bool Folder::has(std::string_view name) const {
  if (in_memory_) {
    return std::any_of(files_.begin(), files_.end(),
                       [&](const MemoryFile& file) { return file.name == name; });
  }
  std::error_code error;
  const auto type = fs::status(path_of(name), error).type();
  return type != fs::file_type::not_found && type != fs::file_type::none &&
         type != fs::file_type::directory;
}

std::vector<std::string> Folder::names() const {
  std::vector<std::string> names;
  if (in_memory_) {
    for (const MemoryFile& file : files_) names.push_back(file.name);
  } else {
    std::error_code error;
    for (fs::directory_iterator it(path_, error), end; !error && it != end; it.increment(error)) {
      std::error_code ignored;
      if (!it->is_directory(ignored)) names.push_back(it->path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

int64_t Folder::file_bytes(std::string_view name) const {
  if (in_memory_) {
    for (const MemoryFile& file : files_) {
      if (file.name == name) return static_cast<int64_t>(file.bytes.size());
    }
    return 0;
  }
  std::error_code error;
  const auto size = fs::file_size(path_of(name), error);
  return error ? 0 : static_cast<int64_t>(size);
}

Result<std::shared_ptr<const MappedFile>> Folder::open(std::string_view name) const {
  if (!in_memory_) return MappedFile::open(path_of(name));
  for (const MemoryFile& file : files_) {
    if (file.name == name) return MappedFile::view(path_of(name), file.bytes);
  }
  return not_found("{}: no such file", path_of(name));
}

Result<std::string> Folder::read_text(std::string_view name, int64_t max_bytes) const {
  FERRY_TRY(auto file, open(name));
  if (file->size() > max_bytes) {
    return invalid_input("{}: {} bytes, the limit is {}", file->path(), file->size(), max_bytes);
  }
  return std::string(file->text());
}

Result<Json> Folder::read_json(std::string_view name) const {
  FERRY_TRY(auto file, open(name));
  auto json = parse_json(file->text());
  if (!json.ok()) return json.error().in(file->path());
  if (!json->is_object()) {
    return invalid_input("{}: expected a JSON object, found {}", file->path(),
                         json_type_name(*json));
  }
  return std::move(json).value();
}

std::pair<std::string, std::string> split_path(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         is_one_line(name);
}

}  // namespace ferry::disk
