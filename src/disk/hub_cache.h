// The Hugging Face cache on this machine, as huggingface_hub lays it out. Reading needs no network;
// `ferry pull` (cmd/hub_download.h) writes into the same layout.
//
//   ROOT/models--ORG--NAME/refs/main             the commit that `main` was when it was fetched
//   ROOT/models--ORG--NAME/snapshots/COMMIT/…    symbolic links into
//   ROOT/models--ORG--NAME/blobs/HASH            the files
//
// ROOT: $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else
// ~/.cache/huggingface/hub.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ferry::disk {

// "org/name" with the characters that the hub allows: letters, digits, '.', '_' and '-', no part
// that is empty, begins with '.' or '-', or holds "..".
bool is_repo_name(std::string_view text);

// A model in the cache, for `ferry ls`.
struct CachedModel {
  std::string name;    // what open_model() takes: "org/name", or "org/name:file.gguf"
  std::string path;    // the snapshot folder, or the GGUF file (its first part)
  std::string format;  // "safetensors" or "gguf"
  int64_t bytes = 0;   // of the weight files
};

class HubCache {
 public:
  explicit HubCache(std::string root) : root_(std::move(root)) {}
  static HubCache from_environment();

  const std::string& root() const { return root_; }
  // REQUIRES: is_repo_name(repo)
  std::string repo_folder(std::string_view repo) const;
  // The snapshot folder of a revision: a branch or tag that was fetched, or a commit. Where there
  // is no such reference but only one snapshot, that one. Error: which place was looked at.
  // REQUIRES: is_repo_name(repo)
  Result<std::string> snapshot(std::string_view repo, std::string_view revision = "main") const;

  // Every model there, by name. An unreadable or absent cache has none.
  std::vector<CachedModel> list() const;

 private:
  std::string root_;
};

// GGUF files in a folder and its sub-folders, relative to it, sorted; of a split model the first
// part only.
std::vector<std::string> find_gguf_files(const std::string& folder);

// Value of an environment variable; "" when unset.
std::string environment(const char* name);

}  // namespace ferry::disk
