// Fetches files of one commit into the Hugging Face cache (disk/hub_cache.h has its layout):
//
//   blobs/HASH.incomplete        what has come so far; a later pull asks for the rest ("Range")
//   blobs/HASH                   the file, once its hash is right and it is on the disk
//   snapshots/COMMIT/PATH        a relative symbolic link to it
//   refs/REVISION                COMMIT, written last
//   ROOT/.locks/models--…/HASH.lock   held (flock) by whoever fetches the blob; Hugging Face's own
//                                tools use the same file
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cmd/hub_api.h"
#include "disk/hub_cache.h"

namespace ferry::cmd {

struct DownloadJob {
  std::string repo;      // disk::is_repo_name()
  std::string revision;  // is_safe_path()
  std::string commit;
  std::vector<HubFile> files;
  int parallel = 4;
  // Bytes that came and bytes that are to come, of what was missing at the start. From any thread.
  std::function<void(int64_t done, int64_t total)> progress;
};

struct DownloadReport {
  std::string snapshot;       // the folder
  int64_t fetched_bytes = 0;  // over the network
};

// Error: which file, and what was found and expected. kCancelled when settings.http.stop said so.
Result<DownloadReport> download(const HubSettings& settings, const disk::HubCache& cache,
                                const DownloadJob& job);

}  // namespace ferry::cmd
