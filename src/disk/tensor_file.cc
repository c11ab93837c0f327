// See tensor_file.h.
#include "disk/tensor_file.h"

#include <fmt/ranges.h>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/quote_name.h"

namespace ferry::disk {

int64_t FileTensor::num_elements() const { return checked_product(shape).value_or(0); }
std::string FileTensor::shape_text() const { return disk::shape_text(shape); }

std::string shape_text(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Result<int64_t> tensor_bytes(const quant::StorageFormat& format, std::span<const int64_t> shape) {
  const auto elements = checked_product(shape);
  if (!elements) return invalid_input("shape {} overflows", shape_text(shape));
  const int64_t inner = shape.empty() ? 1 : shape.back();
  if (inner % format.block_elements != 0) {
    return invalid_input(
        "innermost dimension {} is not a multiple of the {} elements of a {} block", inner,
        format.block_elements, format.name);
  }
  const auto bytes = checked_mul(*elements / format.block_elements, format.block_bytes);
  if (!bytes) return invalid_input("shape {} of {} overflows", shape_text(shape), format.name);
  return *bytes;
}

const FileTensor* Checkpoint::find(std::string_view name) const {
  auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

Result<const FileTensor*> Checkpoint::get(std::string_view name) const {
  const FileTensor* tensor = find(name);
  if (tensor == nullptr) {
    return not_found("{}: tensor {} is missing (of {} tensors there)", path_, quote_name(name),
                     tensors_.size());
  }
  return tensor;
}

std::string Checkpoint::where(const FileTensor& tensor) const {
  return fmt::format("{}: tensor {}", files_[tensor.file_index]->path(),
                     quote_name(tensor.source_name));
}

int Checkpoint::add_file(std::shared_ptr<const MappedFile> file) {
  if (path_.empty()) path_ = file->path();
  files_.push_back(std::move(file));
  return static_cast<int>(files_.size()) - 1;
}

Status Checkpoint::add(FileTensor tensor) {
  if (tensor.source_name.empty()) tensor.source_name = tensor.name;
  if (const FileTensor* other = find(tensor.name)) {
    const std::string& here = files_[tensor.file_index]->path();
    const std::string& there = files_[other->file_index]->path();
    return invalid_input("{}: tensor {} appears twice{}", here, quote_name(tensor.source_name),
                         here == there ? std::string() : ", first in " + there);
  }
  index_.emplace(tensor.name, tensors_.size());
  data_bytes_ += static_cast<int64_t>(tensor.data.size());
  tensors_.push_back(std::move(tensor));
  return {};
}

Status Checkpoint::reinterpret(const std::function<Status(FileTensor&)>& see) {
  for (FileTensor& tensor : tensors_) {
    if (const Status seen = see(tensor); !seen.ok()) return seen.error().in(where(tensor));
    CHECK(tensor.format->bytes_for(tensor.num_elements()) ==
          static_cast<int64_t>(tensor.data.size()));
  }
  return {};
}

Status Checkpoint::rename(
    const std::function<std::optional<std::string>(std::string_view)>& canonical) {
  index_.clear();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    FileTensor& tensor = tensors_[i];
    if (auto name = canonical(tensor.source_name)) tensor.name = std::move(*name);
    auto [it, inserted] = index_.emplace(tensor.name, i);
    if (!inserted) {
      return invalid_input("{}: means the same as tensor {} of {}", where(tensor),
                           quote_name(tensors_[it->second].source_name),
                           files_[tensors_[it->second].file_index]->path());
    }
  }
  return {};
}

}  // namespace ferry::disk
