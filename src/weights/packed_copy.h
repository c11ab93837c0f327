// PackedCopy: matrices as a backend packs them (HostWeight::pack), kept in a file, so that a start
// maps them and has nothing to read, to look through or to pack. `ferry pack` makes it.
//
// A copy holds for exactly the files that it was made from (MappedFile::identity(): whatever is
// done to one of them makes the copy void) and for one layout (DeviceSpec::packed_layout). Whoever
// makes one looks through the values for what is not finite, so that whoever uses it need not.
//
// The file, little-endian; a text is a u32 with its bytes behind it:
//   header   4096 bytes: "ferry packed copy 1\n", zeros
//   data     matrices, each at a multiple of 64 from the start of the file, zeros between
//   index    layout, model, path of the model: texts
//            number of source files u32; of each: path, identity: texts
//            number of matrices u64; of each, by tensor and first row: tensor, format: texts;
//              first row, rows, columns, offset, bytes: i64
//   footer   offset of the index: i64; FNV-1a of all but the data and itself: u64
//
// What can't be read that way is an error, and what was read is safe to use: every matrix lies
// within the data, and none over another. The data itself is not checked, which would take as long
// as packing it again; its values may be any, as those of a model file.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "disk/atomic_file.h"
#include "disk/tensor_file.h"

namespace ferry::weights {

// Rows of a tensor that are one matrix to the model.
struct PackedMatrix {
  std::string_view tensor;  // as the checkpoint names it
  std::string_view format;
  int64_t first_row = 0;  // of the tensor flattened to [.., cols]
  int64_t rows = 0;
  int64_t cols = 0;
};

// Thread-safe: nothing changes once it is open.
class PackedCopy {
 public:
  struct Source {
    std::string_view path, identity;
  };
  struct Entry {
    PackedMatrix matrix;
    std::span<const uint8_t> data;
  };

  // Errors, of one line: not there, or what is wrong with it. Texts and data are views of the file.
  static Result<std::shared_ptr<const PackedCopy>> open(const std::string& path);
  static Result<std::shared_ptr<const PackedCopy>> read(
      std::shared_ptr<const disk::MappedFile> file);

  // Whether it holds for this checkpoint and layout; the error says why not.
  Status check(const disk::Checkpoint& checkpoint, std::string_view layout) const;
  // The matrix, if it is there and takes so many bytes; otherwise empty.
  std::span<const uint8_t> find(const PackedMatrix& matrix, int64_t bytes) const;

  std::string_view layout() const { return layout_; }
  std::string_view model() const { return model_; }
  std::string_view model_path() const { return model_path_; }
  std::span<const Source> sources() const { return sources_; }
  std::span<const Entry> entries() const { return entries_; }
  const std::shared_ptr<const disk::MappedFile>& file() const { return file_; }

 private:
  explicit PackedCopy(std::shared_ptr<const disk::MappedFile> file) : file_(std::move(file)) {}
  Status parse();
  Status parse_entries(std::string_view& rest, int64_t data_end);

  std::shared_ptr<const disk::MappedFile> file_;
  std::string_view layout_, model_, model_path_;
  std::vector<Source> sources_;
  std::vector<Entry> entries_;  // by tensor and first row
};

// The footer's checksum of these bytes of a file; nullopt: the footer places the index outside.
std::optional<uint64_t> packed_copy_checksum(std::span<const uint8_t> file);

// Writes a copy matrix by matrix. It appears under its name when it is complete; before, and after
// any error, nothing of it is left.
class PackedCopyWriter {
 public:
  // `model`, `model_path`: for people. `stop` is asked before every matrix whether to go on; true:
  // add() fails with kCancelled. Errors: can't be made, a checkpoint that is no files on disk.
  // REQUIRES: the checkpoint outlives the writer
  static Result<PackedCopyWriter> create(const std::string& path,
                                         const disk::Checkpoint& checkpoint, std::string_view model,
                                         std::string_view model_path, std::string_view layout,
                                         std::function<bool()> stop = {});

  // A matrix that begins where one before began is left out. Errors: the disk's.
  Status add(const PackedMatrix& matrix, std::span<const uint8_t> data);
  // Errors: the disk's; a file of the checkpoint that changed meanwhile. Nothing may follow.
  Status finish();

  int64_t num_matrices() const { return static_cast<int64_t>(entries_.size()); }
  int64_t file_bytes() const { return file_.position(); }

 private:
  struct Written {
    std::string format;
    int64_t rows = 0, cols = 0, offset = 0, bytes = 0;
  };
  PackedCopyWriter(disk::AtomicFile file, const disk::Checkpoint& checkpoint)
      : file_(std::move(file)), checkpoint_(&checkpoint) {}

  disk::AtomicFile file_;
  const disk::Checkpoint* checkpoint_;
  std::vector<std::string> identities_;  // of the checkpoint's files, before anything was read
  std::string names_;                    // the texts in front of the index
  std::function<bool()> stop_;
  std::map<std::pair<std::string, int64_t>, Written> entries_;
};

// Where the copy of a model lies in a folder: named after the model, so that people know it, and
// after the paths of its files, so that two models of one name have two.
std::string packed_copy_path(const std::string& folder, std::string_view model,
                             const disk::Checkpoint& checkpoint);
inline constexpr std::string_view kPackedCopySuffix = ".packed";

}  // namespace ferry::weights
