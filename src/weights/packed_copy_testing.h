// For the tests and the fuzzer of packed copies: files of any bytes whose checksum is right, and
// use of everything that the reader hands out.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "weights/packed_copy.h"

namespace ferry::weights {

// The file with the checksum that belongs to it, where it has a place for one.
inline std::vector<uint8_t> with_checksum(std::vector<uint8_t> file) {
  const std::optional<uint64_t> checksum = packed_copy_checksum(file);
  if (checksum)
    std::memcpy(file.data() + file.size() - sizeof *checksum, &*checksum, sizeof *checksum);
  return file;
}

inline Result<std::shared_ptr<const PackedCopy>> read_bytes_as_copy(
    const std::vector<uint8_t>& file) {
  return PackedCopy::read(disk::MappedFile::view("copy.packed", file));
}

// Whether it was read; if not, that it says why in one line. Every byte of every matrix lies within
// the file and in no other, and each is found by what the index says of it.
inline bool exercise(const std::vector<uint8_t>& file) {
  const auto copy = read_bytes_as_copy(file);
  if (!copy.ok()) {
    CHECK(!copy.error().message.empty());
    CHECK(copy.error().message.find('\n') == std::string::npos);
    return false;
  }
  std::vector<bool> used(file.size());
  for (const PackedCopy::Entry& entry : (*copy)->entries()) {
    CHECK(entry.data.data() >= file.data());
    const auto begin = static_cast<size_t>(entry.data.data() - file.data());
    CHECK(begin <= file.size() && entry.data.size() <= file.size() - begin);
    for (size_t i = begin; i < begin + entry.data.size(); ++i) {
      CHECK(!used[i]);
      used[i] = true;
    }
    CHECK((*copy)->find(entry.matrix, std::ssize(entry.data)).data() == entry.data.data());
    CHECK((*copy)->find(entry.matrix, std::ssize(entry.data) + 1).empty());
  }
  std::string texts((*copy)->model());
  texts += (*copy)->model_path();
  for (const PackedCopy::Source& source : (*copy)->sources()) {
    texts += source.path;
    texts += source.identity;
  }
  CHECK(texts.size() < file.size());
  const Status holds = (*copy)->check({}, "cpu strips 1");
  CHECK(holds.ok() || holds.error().message.find('\n') == std::string::npos);
  return true;
}

}  // namespace ferry::weights
