// Weights as they lie on the device: in the narrow dtype of the chip (bf16 or f16), or in f32 where
// the file has f32 or f32 was asked for. Quantised formats are decoded when they are loaded.
//
// FP8, with or without scales, is int8 on the device, as no chip behind these libraries multiplies
// FP8 and 16 bits would take twice the memory:
//   W[n, k] ≈ matrix[n, k] · scales[n], the scale the least number of the narrow dtype that is not
//   below max_k |W[n, k]| / 127, so that scales are exact wherever a library wants them narrow.
// Matrices of heads are not: they are multiplied in pieces of many shapes, and are small.
#pragma once

#include <functional>
#include <memory>

#include "device/memory_pool.h"
#include "device/weight.h"

namespace ferry::composed {

// What WeightView::packed points to.
struct DeviceWeight {
  TensorView matrix;     // [rows, cols], contiguous
  TensorView scales;     // [rows] of the narrow dtype, contiguous, where matrix is i8
  HostWeight host;       // as the file has it: rows of tables are read from here, unrounded
  bool rounded = false;  // whether `matrix` differs from it
  Buffer memory, scales_memory;
};

// Copies host bytes to device memory; returns when it is done.
using SendBytes = std::function<Status(void* device_dst, const void* src, int64_t bytes)>;

// How a chip keeps weights.
struct Packing {
  Dtype narrow = Dtype::kBF16;  // bf16, f16, or f32 for no rounding at all, at twice the memory
  bool int8 = false;            // FP8 as int8; not with f32
};

Dtype device_dtype(const quant::StorageFormat& format, const Packing& packing,
                   bool by_head = false);
// Whether the device holds what the file has, unrounded.
bool is_exact(const quant::StorageFormat& format, const Packing& packing);

Result<Weight> import_weight(MemoryPool& pool, const SendBytes& send, const HostWeight& weight,
                             const Packing& packing, std::shared_ptr<const void> owner);
int64_t import_bytes(const HostWeight& weight, const Packing& packing);

inline const DeviceWeight& device_weight(const WeightView& view) {
  CHECK(view.packed != nullptr);
  return *static_cast<const DeviceWeight*>(view.packed);
}

inline const TensorView& head_matrix(const HeadMatrixView& u) {
  const DeviceWeight& weight = device_weight(u.weight);
  CHECK(weight.scales.empty());  // imported as by_head
  return weight.matrix;
}

// Rows of the file as f32, scales applied. REQUIRES: 0 <= row < weight.rows
void decode_host_row(const HostWeight& weight, int64_t row, float* out);

}  // namespace ferry::composed
