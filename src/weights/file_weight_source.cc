// See file_weight_source.h.
#include "weights/file_weight_source.h"

#include <utility>

namespace ferry::weights {

static_assert(disk::MappedFile::kReadBlock == WeightSource::kAlignment);

FileWeightSource::FileWeightSource(std::shared_ptr<const disk::MappedFile> file, std::string where,
                                   const quant::StorageFormat& format, int64_t offset,
                                   int64_t bytes)
    : file_(std::move(file)),
      where_(std::move(where)),
      format_(format),
      offset_(offset),
      bytes_(bytes) {}

Result<const uint8_t*> FileWeightSource::read(std::span<uint8_t> buffer) const {
  const Result<const uint8_t*> data = file_->read(offset_, bytes_, buffer);
  if (!data.ok()) return data.error().in(where_);
  if (looked_through_.load() || format_.first_bad_block == nullptr) return data;
  const int64_t bad = format_.first_bad_block(*data, bytes_ / format_.block_bytes);
  if (bad >= 0) {
    return invalid_input("{}: the {} block at offset {} has a value that is not finite", where_,
                         format_.name, offset_ + bad * format_.block_bytes);
  }
  looked_through_ = true;
  return data;
}

}  // namespace ferry::weights
