// Weights as they lie on the device: as in the file where a kernel reads that format, in bf16 where
// none does.
#pragma once

#include <memory>

#include "backends/cuda/device.h"
#include "device/weight.h"

namespace ferry::cuda {

// What WeightView::packed points to.
struct ImportedWeight {
  WeightParam param{};
  Buffer memory, scale;
  HostWeight host;  // as the file has it, if that is not what the device has: then in bf16
};

// What kernels read of a format; kNumWeightKinds: none does.
WeightKind weight_kind(const quant::StorageFormat& format);
// What the device has of a weight in that format.
WeightKind kind_on_device(const quant::StorageFormat& format, bool f32_weights);

// f32_weights: what no kernel reads is kept in f32 and not rounded.
Result<Weight> import_weight(const Device& device, const HostWeight& weight, bool f32_weights,
                             std::shared_ptr<const void> owner);
int64_t import_bytes(const HostWeight& weight, bool f32_weights);

// REQUIRES: a view that import_weight() gave
inline const ImportedWeight& imported_weight(const WeightView& view) {
  CHECK(view.packed != nullptr);
  return *static_cast<const ImportedWeight*>(view.packed);
}
inline const WeightParam& weight_param(const WeightView& view) {
  return imported_weight(view).param;
}

}  // namespace ferry::cuda
