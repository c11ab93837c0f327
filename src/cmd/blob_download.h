// Fetches one blob of the Hugging Face cache: lock, resume, check, rename. See hub_download.h for
// the files it leaves.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "cmd/hub_api.h"

namespace ferry::cmd {

struct BlobPlace {
  std::string folder;  // blobs/
  std::string lock;    // path of the lock file
};

// Bytes over all files, for the progress bar.
struct DownloadCounters {
  std::atomic<int64_t> done = 0;
  std::atomic<int64_t> total = 0;
  std::function<void(int64_t done, int64_t total)> progress;
};

class BlobDownload {
 public:
  BlobDownload(const HubSettings& settings, HttpClient& client, const HubFile& file,
               std::string url, BlobPlace place, DownloadCounters& counters);
  ~BlobDownload();
  BlobDownload(const BlobDownload&) = delete;
  BlobDownload& operator=(const BlobDownload&) = delete;

  Status run();

 private:
  Status lock();
  Status open();
  Status fetch();
  Status take(const HttpResponse& response, std::span<const uint8_t> bytes);
  Status begin_answer(const HttpResponse& response);
  Status start_over();
  Status keep();
  Error failure(std::string_view what) const;

  const HubSettings& settings_;
  HttpClient& client_;
  const HubFile& file_;
  std::string url_;
  BlobPlace place_;
  DownloadCounters& counters_;
  std::string path_;        // of the finished blob
  std::string incomplete_;  // of what there is so far
  int fd_ = -1;
  int lock_fd_ = -1;
  int64_t offset_ = 0;  // bytes in the file and in the hash
  bool answer_begun_ = false;
  bool distrusted_ = false;  // the bytes so far are not worth going on from
  BlobHash hash_;
};

// Bytes there are of a finished blob or an unfinished one; nullopt when there is no such file.
std::optional<int64_t> regular_file_bytes(const std::string& path);

}  // namespace ferry::cmd
