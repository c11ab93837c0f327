// See hub_cache.h.
#include "disk/hub_cache.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/quote_name.h"
#include "disk/folder.h"
#include "disk/shard_name.h"

namespace ferry::disk {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kRepoPrefix = "models--";
constexpr int kMaxFolderDepth = 3;
constexpr size_t kMaxFilesListed = 100'000;

bool is_name_part(std::string_view part) {
  if (part.empty() || part.size() > 96 || part.front() == '.' || part.front() == '-') return false;
  if (part.find("..") != std::string_view::npos) return false;
  return std::all_of(part.begin(), part.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
  });
}

// "models--org--name" → "org/name".
std::string repo_of_folder(std::string_view folder) {
  folder.remove_prefix(kRepoPrefix.size());
  const size_t gap = folder.find("--");
  if (gap == std::string_view::npos) return std::string(folder);
  return fmt::format("{}/{}", folder.substr(0, gap), folder.substr(gap + 2));
}

std::string first_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::vector<std::string> folders_in(const fs::path& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored)) names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

int64_t gguf_bytes(const Folder& folder, const std::string& file) {
  const auto [directory, name] = split_path(file);
  const auto shard = parse_shard_name(name);
  if (!shard) return folder.file_bytes(file);
  const std::string prefix = directory == "." ? "" : directory + "/";
  int64_t bytes = 0;
  for (int i = 1; i <= shard->count; ++i)
    bytes += folder.file_bytes(prefix + shard->with_number(i));
  return bytes;
}

void list_snapshot(const std::string& repo, const std::string& path,
                   std::vector<CachedModel>& out) {
  auto folder = Folder::on_disk(path);
  if (!folder.ok()) return;
  CachedModel model{repo, path, "safetensors", 0};
  for (const std::string& name : folder->names()) {
    if (std::string_view(name).ends_with(".safetensors")) model.bytes += folder->file_bytes(name);
  }
  if (model.bytes > 0) out.push_back(model);
  for (const std::string& file : find_gguf_files(path)) {
    out.push_back({repo + ":" + file, folder->path_of(file), "gguf", gguf_bytes(*folder, file)});
  }
}

}  // namespace

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_repo_name(std::string_view text) {
  const size_t slash = text.find('/');
  return slash != std::string_view::npos && is_name_part(text.substr(0, slash)) &&
         is_name_part(text.substr(slash + 1));
}

HubCache HubCache::from_environment() {
  if (auto path = environment("HF_HUB_CACHE"); !path.empty()) return HubCache(path);
  if (auto path = environment("HF_HOME"); !path.empty()) return HubCache(path + "/hub");
  if (auto path = environment("XDG_CACHE_HOME"); !path.empty()) {
    return HubCache(path + "/huggingface/hub");
  }
  return HubCache(environment("HOME") + "/.cache/huggingface/hub");
}

std::string HubCache::repo_folder(std::string_view repo) const {
  const size_t slash = repo.find('/');
  return fmt::format("{}/{}{}--{}", root_, kRepoPrefix, repo.substr(0, slash),
                     repo.substr(slash + 1));
}

Result<std::string> HubCache::snapshot(std::string_view repo, std::string_view revision) const {
  const std::string folder = repo_folder(repo);
  std::error_code error;
  if (!fs::is_directory(folder, error)) return not_found("{}: no such directory", folder);
  const std::string snapshots = folder + "/snapshots/";
  if (is_plain_file_name(revision)) {
    const std::string commit = first_line(folder + "/refs/" + std::string(revision));
    if (is_plain_file_name(commit) && fs::is_directory(snapshots + commit, error)) {
      return snapshots + commit;
    }
    if (fs::is_directory(snapshots + std::string(revision), error)) {
      return snapshots + std::string(revision);
    }
  }
  const auto commits = folders_in(snapshots);
  if (commits.size() == 1 && revision == "main") return snapshots + commits.front();
  return not_found("{}: no snapshot of revision {} among {} there", folder, quote_name(revision),
                   commits.size());
}

std::vector<CachedModel> HubCache::list() const {
  std::vector<CachedModel> out;
  for (const std::string& name : folders_in(root_)) {
    if (!std::string_view(name).starts_with(kRepoPrefix)) continue;
    const std::string repo = repo_of_folder(name);
    if (!is_repo_name(repo)) continue;
    if (auto path = snapshot(repo); path.ok()) list_snapshot(repo, *path, out);
  }
  return out;
}

std::vector<std::string> find_gguf_files(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, error);
  size_t seen = 0;
  for (fs::recursive_directory_iterator end; !error && it != end; it.increment(error)) {
    if (++seen > kMaxFilesListed) break;
    if (it.depth() >= kMaxFolderDepth - 1) it.disable_recursion_pending();
    std::error_code ignored;
    if (it->path().extension() != ".gguf" || it->is_directory(ignored)) continue;
    const auto shard = parse_shard_name(it->path().filename().string());
    if (shard && shard->number != 1) continue;
    files.push_back(it->path().lexically_relative(folder).string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace ferry::disk
