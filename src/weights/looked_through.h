// LookedThrough: which bytes of which files were found to be all finite, from one start of the
// program to the next. A file that is noted, has not changed since and lies in memory need not be
// read again before it is used: a second start is then a map and no work.
//
// One small text file per weight file, named after its path:
//   ferry looked through 1
//   DEVICE INODE SIZE MTIME_NS CTIME_NS
//   BEGIN END                             (offsets; any number of lines)
// What can't be read there, or is about a file that changed, counts as nothing noted, and what
// can't be written is left out: either costs time, nothing else. The number is to change whenever
// StorageFormat::first_bad_block learns to find more.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "disk/tensor_file.h"

namespace ferry::weights {

class LookedThrough {
 public:
  // Smaller files are looked through in no time, and not noted.
  static constexpr int64_t kLeastBytes = int64_t{256} << 20;

  // REQUIRES: the checkpoint outlives this
  LookedThrough(const disk::Checkpoint& checkpoint, std::string folder,
                int64_t least_bytes = kLeastBytes);

  // Noted before, and in memory. Offsets are those in the file.
  bool covers(int file_index, int64_t offset, int64_t bytes) const;
  void add(int file_index, int64_t offset, int64_t bytes);
  // For files that still are what they were at the beginning, where there is anything new.
  void save() const;

 private:
  struct Noted {
    std::string note_path;  // empty: the file is not noted
    std::string identity;
    std::map<int64_t, int64_t> ranges;  // begin → end, apart from each other
    bool changed = false;
  };
  void read_note(Noted& file) const;

  const disk::Checkpoint& checkpoint_;
  std::vector<Noted> files_;
};

}  // namespace ferry::weights
