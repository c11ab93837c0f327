// See blob_download.h.
#include "cmd/blob_download.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <thread>

#include "base/quote_name.h"
#include "disk/mapped_file.h"

namespace ferry::cmd {
namespace {

constexpr auto kLockPoll = std::chrono::milliseconds(100);
constexpr int kTriesOfWrongBytes = 2;

}  // namespace

std::optional<int64_t> regular_file_bytes(const std::string& path) {
  struct stat info = {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return info.st_size;
}

BlobDownload::BlobDownload(const HubSettings& settings, HttpClient& client, const HubFile& file,
                           std::string url, BlobPlace place, DownloadCounters& counters)
    : settings_(settings),
      client_(client),
      file_(file),
      url_(std::move(url)),
      place_(std::move(place)),
      counters_(counters),
      path_(place_.folder + "/" + file.hash),
      incomplete_(path_ + ".incomplete"),
      hash_(file.kind, file.bytes) {}

BlobDownload::~BlobDownload() {
  if (fd_ >= 0) ::close(fd_);
  if (lock_fd_ >= 0) ::close(lock_fd_);  // which also unlocks
}

Error BlobDownload::failure(std::string_view what) const {
  return io_error("{}: cannot {}: {}", incomplete_, what, disk::errno_text(errno));
}

Status BlobDownload::lock() {
  lock_fd_ = ::open(place_.lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (lock_fd_ < 0) {
    return io_error("{}: cannot open: {}", place_.lock, disk::errno_text(errno));
  }
  bool said = false;
  while (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return io_error("{}: cannot lock: {}", place_.lock, disk::errno_text(errno));
    }
    if (settings_.http.stop && settings_.http.stop()) return stopped_error();
    if (!said) {
      std::fprintf(stderr, "%s: another program fetches it; waiting\n", file_.path.c_str());
      said = true;
    }
    std::this_thread::sleep_for(kLockPoll);
  }
  return {};
}

Status BlobDownload::open() {
  fd_ = ::open(incomplete_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd_ < 0) return failure("open");
  const int64_t there = regular_file_bytes(incomplete_).value_or(0);
  if (there > file_.bytes) return start_over();
  FERRY_TRY_VOID(add_file(hash_, fd_, there, incomplete_));
  offset_ = there;
  return {};
}

Status BlobDownload::start_over() {
  if (::ftruncate(fd_, 0) != 0) return failure("empty");
  counters_.total += offset_;  // they come once more
  offset_ = 0;
  hash_ = BlobHash(file_.kind, file_.bytes);
  return {};
}

// The first bytes of an answer: do they go on where we are? What is there is given up only for an
// answer that has the right size.
Status BlobDownload::begin_answer(const HttpResponse& response) {
  answer_begun_ = true;
  const bool rest = response.status == 206 && offset_ > 0;
  if (response.status != 200 && !rest) {
    return io_error("{}: the server answers {} to a request for {}", file_.path, response.status,
                    offset_ == 0 ? "the file" : "its rest");
  }
  const std::string_view range = response.content_range;
  if (rest && (!range.starts_with(fmt::format("bytes {}-", offset_)) ||
               !(range.ends_with(fmt::format("/{}", file_.bytes)) || range.ends_with("/*")))) {
    return io_error("{}: the server sends {}, expected bytes {}-{}/{}", file_.path,
                    quote_name(range), offset_, file_.bytes - 1, file_.bytes);
  }
  const int64_t wanted = rest ? file_.bytes - offset_ : file_.bytes;
  const int64_t announced = response.content_length;
  if (announced > wanted || (!rest && announced >= 0 && announced != wanted)) {
    return io_error("{}: the server sends {} bytes, expected {}", file_.path, announced, wanted);
  }
  return rest || offset_ == 0 ? Status() : start_over();
}

Status BlobDownload::take(const HttpResponse& response, std::span<const uint8_t> bytes) {
  if (!answer_begun_) FERRY_TRY_VOID(begin_answer(response));
  if (static_cast<int64_t>(bytes.size()) > file_.bytes - offset_) {
    distrusted_ = true;
    return io_error("{}: the server sends more than the {} bytes that the hub announces",
                    file_.path, file_.bytes);
  }
  for (auto left = bytes; !left.empty();) {
    const ssize_t written = ::pwrite(fd_, left.data(), left.size(),
                                     offset_ + static_cast<int64_t>(bytes.size() - left.size()));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failure(fmt::format("write byte {}", offset_));
    left = left.subspan(static_cast<size_t>(written));
  }
  hash_.add(bytes);
  offset_ += static_cast<int64_t>(bytes.size());
  counters_.done += static_cast<int64_t>(bytes.size());
  if (counters_.progress) counters_.progress(counters_.done, counters_.total);
  return {};
}

Status BlobDownload::fetch() {
  Attempts attempts(settings_, file_.path);
  while (offset_ < file_.bytes) {
    answer_begun_ = false;
    const int64_t before = offset_;
    HttpResponse response =
        client_.get(url_, offset_, [this](const HttpResponse& head, std::span<const uint8_t> part) {
          return take(head, part);
        });
    if (offset_ == file_.bytes) return {};
    if (response.status == 416 && before > 0) {  // our rest does not exist in that file
      FERRY_TRY_VOID(start_over());
    } else if (offset_ > before) {
      attempts.progressed();
    }
    if (response.failure.empty() && (response.status / 100 == 2 || response.status == 416)) {
      response.failure = fmt::format("the answer ends at byte {} of {}", offset_, file_.bytes);
    }
    FERRY_TRY_VOID(attempts.again(response));
  }
  return {};
}

// The bytes are on the disk before they get the name that vouches for them.
Status BlobDownload::keep() {
  if (::fsync(fd_) != 0) return failure("flush to the disk");
  if (std::rename(incomplete_.c_str(), path_.c_str()) != 0) return failure("rename");
  const int folder = ::open(place_.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);  // some file systems refuse, which is fine
    ::close(folder);
  }
  return {};
}

Status BlobDownload::run() {
  FERRY_TRY_VOID(lock());
  if (regular_file_bytes(path_) == file_.bytes) return {};  // someone else was quicker
  FERRY_TRY_VOID(open());
  for (int attempt = 1;; ++attempt) {
    const Status fetched = fetch();
    if (!fetched.ok()) {
      if (offset_ == 0 || distrusted_) ::unlink(incomplete_.c_str());
      return fetched;
    }
    const std::string found = hash_.hex();
    if (found == file_.hash) return keep();
    if (attempt == kTriesOfWrongBytes) {
      ::unlink(incomplete_.c_str());
      return io_error("{}: wrong bytes, {} times: {} is {}, expected {}", file_.path, attempt,
                      hash_name(file_.kind), found, file_.hash);
    }
    std::fprintf(stderr, "%s: wrong bytes: %s is %s, expected %s; fetching it again\n",
                 file_.path.c_str(), hash_name(file_.kind), found.c_str(), file_.hash.c_str());
    FERRY_TRY_VOID(start_over());
  }
}

}  // namespace ferry::cmd
