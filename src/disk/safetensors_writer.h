// Writer of one safetensors file (layout: safetensors.h). Declare the tensors, stream their bytes
// in that order, finish. The file appears under its name only when it is complete.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "disk/atomic_file.h"
#include "disk/tensor_decl.h"

namespace ferry::disk {

class SafetensorsWriter {
 public:
  // `metadata` goes into "__metadata__". Errors: formats that safetensors lacks, bad shapes, names
  // declared twice, a disk that refuses.
  static Result<SafetensorsWriter> create(
      const std::string& path, const std::vector<TensorDecl>& tensors,
      const std::vector<std::pair<std::string, std::string>>& metadata = {});

  // The next bytes, in pieces of any size.
  // REQUIRES: no more bytes than were declared
  Status write(std::span<const uint8_t> bytes);

  // REQUIRES: all declared bytes have been written
  Status finish();

 private:
  SafetensorsWriter(AtomicFile file, int64_t remaining)
      : file_(std::move(file)), remaining_(remaining) {}

  AtomicFile file_;
  int64_t remaining_;
};

}  // namespace ferry::disk
