// Weights as they lie on the device: in the narrow dtype of the chip (bf16 or f16), or in f32 where
// the file has f32 or f32 was asked for.
// Quantised formats and FP8 with its scales are decoded when they are loaded.
#pragma once

#include <functional>
#include <memory>

#include "device/memory_pool.h"
#include "device/weight.h"

namespace ferry::composed {

// What WeightView::packed points to.
struct DeviceWeight {
  TensorView matrix;     // [rows, cols], contiguous
  HostWeight host;       // as the file has it: rows of tables are read from here, unrounded
  bool rounded = false;  // whether `matrix` differs from it
  Buffer memory;
};

// Copies host bytes to device memory; returns when it is done.
using SendBytes = std::function<Status(void* device_dst, const void* src, int64_t bytes)>;

// narrow: bf16, f16, or f32 for no rounding at all, at twice the memory.
Dtype device_dtype(const quant::StorageFormat& format, Dtype narrow);
// Whether the device holds what the file has, unrounded.
bool is_exact(const quant::StorageFormat& format, Dtype narrow);

Result<Weight> import_weight(MemoryPool& pool, const SendBytes& send, const HostWeight& weight,
                             Dtype narrow, std::shared_ptr<const void> owner);
int64_t import_bytes(const HostWeight& weight, Dtype narrow);

inline const DeviceWeight& device_weight(const WeightView& view) {
  CHECK(view.packed != nullptr);
  return *static_cast<const DeviceWeight*>(view.packed);
}

// Rows of the file as f32, scales applied. REQUIRES: 0 <= row < weight.rows
void decode_host_row(const HostWeight& weight, int64_t row, float* out);

}  // namespace ferry::composed
