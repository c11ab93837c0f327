// See blob_hash.h.
#include "cmd/blob_hash.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/check.h"
#include "disk/mapped_file.h"

namespace ferry::cmd {
namespace {

constexpr int64_t kReadBytes = 1 << 20;

}  // namespace

void BlobHash::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

BlobHash::BlobHash(HashKind kind, int64_t bytes) : context_(EVP_MD_CTX_new()) {
  CHECK(context_ != nullptr);
  const EVP_MD* type = kind == HashKind::kSha256 ? EVP_sha256() : EVP_sha1();
  CHECK(EVP_DigestInit_ex(context_.get(), type, nullptr) == 1);
  if (kind != HashKind::kGitBlob) return;
  std::string head = fmt::format("blob {}", bytes);
  head.push_back('\0');
  add(std::span(reinterpret_cast<const uint8_t*>(head.data()), head.size()));
}

void BlobHash::add(std::span<const uint8_t> bytes) {
  CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

std::string BlobHash::hex() {
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  CHECK(EVP_DigestFinal_ex(context_.get(), digest, &size) == 1);
  std::string out;
  for (unsigned i = 0; i < size; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

const char* hash_name(HashKind kind) { return kind == HashKind::kSha256 ? "sha256" : "git sha1"; }

Status add_file(BlobHash& hash, int fd, int64_t end, const std::string& path) {
  std::vector<uint8_t> buffer(static_cast<size_t>(std::min(end, kReadBytes)));
  for (int64_t at = 0; at < end;) {
    const auto wanted = static_cast<size_t>(std::min(end - at, kReadBytes));
    const ssize_t got = ::pread(fd, buffer.data(), wanted, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("{}: cannot read: {}", path, disk::errno_text(errno));
    if (got == 0) return io_error("{}: ends at byte {}, expected {}", path, at, end);
    hash.add(std::span(buffer).first(static_cast<size_t>(got)));
    at += got;
  }
  return {};
}

Result<std::string> sha256_of_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return io_error("{}: cannot open: {}", path, disk::errno_text(errno));
  struct stat info = {};
  Status status;
  BlobHash hash(HashKind::kSha256, 0);
  if (::fstat(fd, &info) != 0) {
    status = io_error("{}: cannot read its size: {}", path, disk::errno_text(errno));
  } else {
    status = add_file(hash, fd, info.st_size, path);
  }
  ::close(fd);
  if (!status.ok()) return status.error();
  return hash.hex();
}

}  // namespace ferry::cmd
