// Weights as they lie on the device: bf16, or f32 where the file has f32 or f32 was asked for.
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

// f32_weights: no rounding at all, at twice the memory.
Dtype device_dtype(const quant::StorageFormat& format, bool f32_weights);

Result<Weight> import_weight(MemoryPool& pool, const SendBytes& send, const HostWeight& weight,
                             bool f32_weights, std::shared_ptr<const void> owner);
int64_t import_bytes(const HostWeight& weight, bool f32_weights);

// What products with it round their operands to (DeviceSpec::matmul_rounding).
double rounding_of(const quant::StorageFormat& format, bool f32_weights);

inline const DeviceWeight& device_weight(const WeightView& view) {
  CHECK(view.packed != nullptr);
  return *static_cast<const DeviceWeight*>(view.packed);
}

// Rows of the file as f32, scales applied. REQUIRES: 0 <= row < weight.rows
void decode_host_row(const HostWeight& weight, int64_t row, float* out);

}  // namespace ferry::composed
