// See api_keys.h.
#include "cmd/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/check.h"

namespace ferry::cmd {
namespace {

constexpr std::string_view kHashed = "sha256:";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string_view trimmed(std::string_view line) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!line.empty() && is_space(line.front())) line.remove_prefix(1);
  while (!line.empty() && is_space(line.back())) line.remove_suffix(1);
  return line;
}

}  // namespace

ApiKeys::Digest ApiKeys::digest_of(std::string_view key) {
  Digest digest{};
  unsigned int size = 0;
  const int done = EVP_Digest(key.data(), key.size(), digest.data(), &size, EVP_sha256(), nullptr);
  CHECK(done == 1 && size == digest.size());
  return digest;
}

Status ApiKeys::add(std::string_view key) {
  const bool printable =
      std::all_of(key.begin(), key.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (key.empty() || !printable) {
    return invalid_input("an API key must be visible ASCII characters without spaces");
  }
  digests_.push_back(digest_of(key));
  return {};
}

Status ApiKeys::add_line(std::string_view line) {
  if (!line.starts_with(kHashed)) return add(line);
  line.remove_prefix(kHashed.size());
  Digest digest{};
  if (line.size() != 2 * digest.size()) {
    return invalid_input("expected 64 hex digits behind sha256:, found {}", line.size());
  }
  for (size_t i = 0; i < digest.size(); ++i) {
    const int high = hex_value(line[2 * i]);
    const int low = hex_value(line[2 * i + 1]);
    if (high < 0 || low < 0) return invalid_input("expected 64 hex digits behind sha256:");
    digest[i] = static_cast<uint8_t>(high * 16 + low);
  }
  digests_.push_back(digest);
  return {};
}

Status ApiKeys::add_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) return io_error("--api-key-file: {}: {}", path, std::strerror(errno));
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    const std::string_view text = trimmed(line);
    if (text.empty() || text.front() == '#') continue;
    const Status added = add_line(text);
    if (!added.ok()) {
      return added.error().in("--api-key-file: " + path + ": line " + std::to_string(number));
    }
  }
  if (empty()) return invalid_input("--api-key-file: {}: has no key", path);
  return {};
}

// Every key is looked at, and all bytes of each: the time says nothing about how much was right.
bool ApiKeys::contains(std::string_view key) const {
  const Digest digest = digest_of(key);
  bool found = false;
  for (const Digest& known : digests_) {
    found |= CRYPTO_memcmp(digest.data(), known.data(), digest.size()) == 0;
  }
  return found;
}

}  // namespace ferry::cmd
