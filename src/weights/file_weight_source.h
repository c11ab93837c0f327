// FileWeightSource: a matrix in a file that can be read again and again. What is read for the first
// time is looked through for values that are not finite, as loading does with all other weights.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "device/weight.h"
#include "disk/mapped_file.h"

namespace ferry::weights {

class FileWeightSource : public WeightSource {
 public:
  // `where` begins messages: file and tensor. REQUIRES: the part lies inside the file
  FileWeightSource(std::shared_ptr<const disk::MappedFile> file, std::string where,
                   const quant::StorageFormat& format, int64_t offset, int64_t bytes);

  int64_t buffer_bytes() const override { return disk::MappedFile::read_buffer_bytes(bytes_); }
  Result<const uint8_t*> read(std::span<uint8_t> buffer) const override;

 private:
  const std::shared_ptr<const disk::MappedFile> file_;
  const std::string where_;
  const quant::StorageFormat& format_;
  const int64_t offset_, bytes_;
  mutable std::atomic<bool> looked_through_ = false;
};

}  // namespace ferry::weights
