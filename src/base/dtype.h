// Dtype: the element types that activations, indices and caches have. How *weights* are stored is
// a wider matter: see quant/storage_format.h.
#pragma once

#include <cstdint>
#include <string_view>

namespace ferry {

enum class Dtype : uint8_t { kF32, kF16, kBF16, kI8, kI32, kI64 };

constexpr int64_t dtype_bytes(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32: return 4;
    case Dtype::kF16: return 2;
    case Dtype::kBF16: return 2;
    case Dtype::kI8: return 1;
    case Dtype::kI32: return 4;
    case Dtype::kI64: return 8;
  }
  return 0;
}

constexpr std::string_view dtype_name(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32: return "f32";
    case Dtype::kF16: return "f16";
    case Dtype::kBF16: return "bf16";
    case Dtype::kI8: return "i8";
    case Dtype::kI32: return "i32";
    case Dtype::kI64: return "i64";
  }
  return "?";
}

}  // namespace ferry
