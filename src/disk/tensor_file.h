// Checkpoint: the named tensors of one model, wherever they lie. Both readers (safetensors.h,
// gguf.h) give one; what is above them does not know which it was.
//
// A tensor is a view into a mapped file: `shape` outermost first, as in `W[out, in]`, and `data`
// exactly bytes_for(product of shape) bytes of `format`, of any alignment. The readers have checked
// that; whoever holds a Checkpoint need not.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "disk/mapped_file.h"
#include "quant/storage_format.h"

namespace ferry::disk {

struct FileTensor {
  std::string name;         // as Hugging Face checkpoints call it
  std::string source_name;  // as the file calls it, for messages
  const quant::StorageFormat* format = nullptr;
  std::vector<int64_t> shape;  // outermost first; empty: a scalar
  std::span<const uint8_t> data;
  int file_index = 0;
  int64_t offset = 0;  // of data in its file

  int64_t num_elements() const;
  std::string shape_text() const;  // "[4, 256]"
};

class Checkpoint {
 public:
  std::span<const FileTensor> tensors() const { return tensors_; }
  std::span<const std::shared_ptr<const MappedFile>> files() const { return files_; }
  int64_t data_bytes() const { return data_bytes_; }  // of all tensors

  // nullptr if there is none.
  const FileTensor* find(std::string_view name) const;
  // Error: which tensor is missing from which file or folder.
  Result<const FileTensor*> get(std::string_view name) const;

  // `model-00002-of-00004.safetensors: tensor "model.norm.weight"`: how messages begin.
  std::string where(const FileTensor& tensor) const;

  // Path of the folder or file that the user named, for messages.
  const std::string& path() const { return path_; }
  void set_path(std::string path) { path_ = std::move(path); }

  // For the readers. A name that is there already is an error that names both files.
  int add_file(std::shared_ptr<const MappedFile> file);
  Status add(FileTensor tensor);

  // Gives every tensor the name that `canonical` returns for it (nullopt: keeps its own).
  // Two tensors that would get the same name are an error.
  Status rename(const std::function<std::optional<std::string>(std::string_view)>& canonical);

  // Lets `see` change the format and shape of tensors, to what their bytes really are; errors of it
  // get the tensor's place in front. REQUIRES: bytes_for(product of shape) stays the same
  Status reinterpret(const std::function<Status(FileTensor&)>& see);

 private:
  struct NameHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  std::string path_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::vector<FileTensor> tensors_;
  std::unordered_map<std::string, size_t, NameHash, std::equal_to<>> index_;
  int64_t data_bytes_ = 0;
};

std::string shape_text(std::span<const int64_t> shape);

// Bytes of a tensor of this shape; errors when a size overflows, a dimension is negative, or the
// innermost dimension is not a whole number of blocks.
Result<int64_t> tensor_bytes(const quant::StorageFormat& format, std::span<const int64_t> shape);

}  // namespace ferry::disk
