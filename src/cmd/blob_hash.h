// The two names a file has on the hub, computed while its bytes pass by: SHA-256 for files in large
// file storage, and git's object name, SHA-1 of "blob SIZE\0" and the bytes, for the others.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

struct evp_md_ctx_st;

namespace ferry::cmd {

enum class HashKind { kSha256, kGitBlob };

class BlobHash {
 public:
  // `bytes` is the size of the whole file, which git's name begins with.
  BlobHash(HashKind kind, int64_t bytes);
  void add(std::span<const uint8_t> bytes);
  std::string hex();  // once, at the end

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

// "sha256" or "git sha1", for messages.
const char* hash_name(HashKind kind);

// Adds the bytes of an open file from its beginning to `end`.
Status add_file(BlobHash& hash, int fd, int64_t end, const std::string& path);

Result<std::string> sha256_of_file(const std::string& path);

}  // namespace ferry::cmd
