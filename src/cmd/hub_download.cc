// See hub_download.h.
#include "cmd/hub_download.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <thread>

#include "base/checked_math.h"
#include "cmd/blob_download.h"
#include "cmd/command.h"
#include "disk/atomic_file.h"
#include "disk/mapped_file.h"

namespace ferry::cmd {

namespace fs = std::filesystem;

namespace {

Status make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return io_error("{}: cannot create: {}", path, error.message());
  return {};
}

// A blob may have several names in a repository; it is fetched once.
struct Missing {
  std::vector<HubFile> files;
  int64_t bytes = 0;  // to come; what an earlier pull left is taken off
};

Result<Missing> find_missing(const std::string& blobs, const std::vector<HubFile>& files) {
  std::map<std::string, const HubFile*> by_hash;
  for (const HubFile& file : files) by_hash.emplace(file.hash, &file);
  Missing missing;
  for (const auto& [hash, file] : by_hash) {
    const std::string path = blobs + "/" + hash;
    if (regular_file_bytes(path) == file->bytes) continue;
    const int64_t there = regular_file_bytes(path + ".incomplete").value_or(0);
    const auto sum =
        checked_add(missing.bytes, there > file->bytes ? file->bytes : file->bytes - there);
    if (!sum) return invalid_input("{}: sizes beyond 2^63 bytes in all", file->path);
    missing.bytes = *sum;
    missing.files.push_back(*file);
  }
  // The largest first, so that no thread is left alone with one at the end.
  std::stable_sort(missing.files.begin(), missing.files.end(),
                   [](const HubFile& a, const HubFile& b) { return a.bytes > b.bytes; });
  return missing;
}

Status check_download_space(const std::string& folder, int64_t bytes) {
  struct statvfs info = {};
  if (::statvfs(folder.c_str(), &info) != 0) {
    return io_error("{}: cannot ask for free space: {}", folder, disk::errno_text(errno));
  }
  const auto free =
      checked_mul(static_cast<int64_t>(info.f_bavail), static_cast<int64_t>(info.f_frsize));
  if (free && *free < bytes) {
    return io_error("{}: {} are to be fetched, {} are free there", folder, format_bytes(bytes),
                    format_bytes(*free));
  }
  return {};
}

// Takes the place of whatever has that name.
Status link_blob(const std::string& snapshot, const HubFile& file) {
  const std::string path = snapshot + "/" + file.path;
  std::string target = "../../blobs/" + file.hash;
  for (const char c : file.path) {
    if (c == '/') target.insert(0, "../");
  }
  std::error_code error;
  if (fs::read_symlink(path, error) == target) return {};
  FERRY_TRY_VOID(make_folder(fs::path(path).parent_path()));
  const std::string temporary = fmt::format("{}.part-{}", path, static_cast<int>(::getpid()));
  ::unlink(temporary.c_str());
  if (::symlink(target.c_str(), temporary.c_str()) != 0) {
    return io_error("{}: cannot link: {}", temporary, disk::errno_text(errno));
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary.c_str());
    return io_error("{}: cannot link: {}", path, disk::errno_text(code));
  }
  return {};
}

// Several threads, each with a connection of its own. The first error stops the others.
class Fetcher {
 public:
  Fetcher(const HubSettings& settings, const DownloadJob& job, const Missing& missing,
          std::string blobs, std::string locks)
      : settings_(settings),
        job_(job),
        missing_(missing),
        blobs_(std::move(blobs)),
        locks_(std::move(locks)),
        results_(missing.files.size()) {
    settings_.http.stop = [this, stop = settings.http.stop] { return failed_ || (stop && stop()); };
    counters_.total = missing.bytes;
    counters_.progress = job.progress;
  }

  Status run() {
    const size_t count = std::min<size_t>(std::max(1, job_.parallel), missing_.files.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < count; ++i) threads.emplace_back([this] { work(); });
    for (std::thread& thread : threads) thread.join();
    // A file that failed by itself says more than those that were stopped because of it.
    const Status* first = nullptr;
    for (const Status& result : results_) {
      if (result.ok()) continue;
      if (result.error().kind != ErrorKind::kCancelled) return result;
      first = &result;
    }
    return first == nullptr ? Status() : *first;
  }

  int64_t fetched_bytes() const { return counters_.done; }

 private:
  void work() {
    HttpClient client(settings_.http);
    for (size_t i = next_++; i < missing_.files.size(); i = next_++) {
      const HubFile& file = missing_.files[i];
      BlobDownload blob(settings_, client, file,
                        Hub::file_url(settings_, job_.repo, job_.commit, file.path),
                        {blobs_, locks_ + "/" + file.hash + ".lock"}, counters_);
      results_[i] = settings_.http.stop() ? Status(stopped_error()) : blob.run();
      if (!results_[i].ok()) failed_ = true;
    }
  }

  HubSettings settings_;
  const DownloadJob& job_;
  const Missing& missing_;
  std::string blobs_;
  std::string locks_;
  std::vector<Status> results_;
  DownloadCounters counters_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
};

}  // namespace

Result<DownloadReport> download(const HubSettings& settings, const disk::HubCache& cache,
                                const DownloadJob& job) {
  const std::string folder = cache.repo_folder(job.repo);
  const std::string locks = cache.root() + "/.locks/" + fs::path(folder).filename().string();
  const std::string blobs = folder + "/blobs";
  DownloadReport report;
  report.snapshot = folder + "/snapshots/" + job.commit;
  for (const std::string& path : {blobs, locks, report.snapshot}) FERRY_TRY_VOID(make_folder(path));

  FERRY_TRY(const Missing missing, find_missing(blobs, job.files));
  FERRY_TRY_VOID(check_download_space(blobs, missing.bytes));
  Fetcher fetcher(settings, job, missing, blobs, locks);
  FERRY_TRY_VOID(fetcher.run());
  report.fetched_bytes = fetcher.fetched_bytes();

  for (const HubFile& file : job.files) FERRY_TRY_VOID(link_blob(report.snapshot, file));
  if (job.revision != job.commit) {
    const std::string ref = folder + "/refs/" + job.revision;
    FERRY_TRY_VOID(make_folder(fs::path(ref).parent_path()));
    FERRY_TRY_VOID(disk::write_file(ref, job.commit));
  }
  return report;
}

}  // namespace ferry::cmd
