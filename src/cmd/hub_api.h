// The hub's side of `ferry pull`: what HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE say, which commit a
// revision is, which files it has, and when to ask again.
//
//   GET ENDPOINT/api/models/REPO/revision/REVISION           {"sha": COMMIT, …}
//   GET ENDPOINT/api/models/REPO/tree/COMMIT?recursive=true  [{"type": "file", "path", "size",
//       "oid": git's name, "lfs": {"oid": SHA-256, "size"}}, …], more pages by Link: …; rel="next"
//   GET ENDPOINT/REPO/resolve/COMMIT/PATH                    the bytes, often by way of a redirect
//
// Names and sizes that come back are hostile until checked: is_safe_path() is asked about every
// one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cmd/blob_hash.h"
#include "cmd/http.h"

namespace ferry::cmd {

struct HubSettings {
  std::string endpoint;  // without a slash at the end
  HttpSettings http;
  int retries = 5;  // after an attempt that brought nothing

  // Error: HF_HUB_OFFLINE is set, or HF_ENDPOINT or HF_TOKEN cannot be used.
  static Result<HubSettings> from_environment();
};

struct HubFile {
  std::string path;  // in the repository; is_safe_path()
  int64_t bytes = 0;
  std::string hash;  // lower case hexadecimal, also the name of the blob in the cache
  HashKind kind = HashKind::kGitBlob;
};

// A relative path without empty, "." or ".." parts, control characters or broken UTF-8, with at
// most 255 bytes a part and 1024 in all: it stays inside the folder it is put in.
bool is_safe_path(std::string_view path);

// Counts attempts at one thing and waits between them: 0.5 s, 1 s, 2 s …, or what the server asks.
class Attempts {
 public:
  Attempts(const HubSettings& settings, std::string what)
      : settings_(settings), what_(std::move(what)) {}
  // After a failed attempt: waits, then OK to try again; or the error to give up with.
  Status again(const HttpResponse& response);
  void progressed() { failed_ = 0; }

 private:
  Error give_up(const HttpResponse& response) const;
  Status wait(double seconds) const;

  const HubSettings& settings_;
  std::string what_;
  int failed_ = 0;
};

Error stopped_error();

class Hub {
 public:
  // REQUIRES: disk::is_repo_name(repo)
  Hub(const HubSettings& settings, std::string repo)
      : settings_(settings), repo_(std::move(repo)), client_(settings.http) {}

  Result<std::string> commit(const std::string& revision);
  Result<std::vector<HubFile>> files(const std::string& commit);
  static std::string file_url(const HubSettings& settings, const std::string& repo,
                              const std::string& commit, const std::string& path);

 private:
  struct Page {
    std::string text;
    std::string link;
  };
  Result<Page> get(const std::string& url, const std::string& what);

  const HubSettings& settings_;
  std::string repo_;
  HttpClient client_;
};

}  // namespace ferry::cmd
