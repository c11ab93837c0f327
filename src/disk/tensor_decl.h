// What both checkpoint writers are told beforehand, and the order they hold their callers to: every
// tensor is declared with its size first, then its bytes follow in the order of declaration.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "quant/storage_format.h"

namespace ferry::disk {

struct TensorDecl {
  std::string name;
  const quant::StorageFormat* format = nullptr;
  std::vector<int64_t> shape;  // outermost first
};

// Bytes of each; errors: a size that overflows or is no whole number of blocks, a name twice.
Result<std::vector<int64_t>> declared_bytes(const std::vector<TensorDecl>& tensors);

}  // namespace ferry::disk
