// Weights on the device: see weights.h.
#include "device/composed/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/checked_math.h"
#include "base/half.h"

namespace ferry::composed {
namespace {

constexpr int64_t kStagingBytes = int64_t{8} << 20;

bool is_plain(const quant::StorageFormat& format, std::string_view dtype) {
  return format.block_elements == 1 && format.safetensors == dtype;
}

bool is_fp8(const quant::StorageFormat& format) {
  return is_plain(format, "F8_E4M3") || is_plain(format, "F8_E5M2");
}

uint16_t to_narrow(float value, Dtype narrow) {
  return narrow == Dtype::kBF16 ? f32_to_bf16(value) : f32_to_f16(value);
}
float from_narrow(uint16_t bits, Dtype narrow) {
  return narrow == Dtype::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

// A row as int8; gives its scale. What is not finite, or too large for a scale, becomes 0.
uint16_t pack_row(const float* row, int64_t cols, Dtype narrow, int8_t* out) {
  float largest = 0;
  for (int64_t k = 0; k < cols; ++k) largest = std::max(largest, std::fabs(row[k]));
  const float least = largest / 127.0f;
  uint16_t bits = to_narrow(least, narrow);
  if (from_narrow(bits, narrow) < least) ++bits;  // the next larger number
  const float scale = from_narrow(bits, narrow);
  const bool usable = scale > 0 && std::isfinite(scale);
  for (int64_t k = 0; k < cols; ++k) {
    const float steps = usable ? row[k] / scale : 0.0f;
    out[k] = std::fabs(steps) <= 127.0f ? static_cast<int8_t>(std::nearbyint(steps)) : int8_t{0};
  }
  return bits;
}

// Rows of `weight`, converted, to `device_data` in pieces of kStagingBytes; gives the scales of
// int8 rows.
Result<std::vector<uint16_t>> send_rows(const SendBytes& send, const HostWeight& weight,
                                        Dtype dtype, Dtype narrow, void* device_data) {
  const int64_t row_bytes = weight.cols * dtype_bytes(dtype);
  const int64_t rows_at_once =
      std::clamp<int64_t>(kStagingBytes / std::max<int64_t>(row_bytes, 1), 1, weight.rows);
  std::vector<float> row(static_cast<size_t>(weight.cols));
  std::vector<char> staging(static_cast<size_t>(rows_at_once * row_bytes));
  std::vector<uint16_t> scales;
  for (int64_t first = 0; first < weight.rows; first += rows_at_once) {
    const int64_t count = std::min(rows_at_once, weight.rows - first);
    for (int64_t i = 0; i < count; ++i) {
      decode_host_row(weight, first + i, row.data());
      char* out = staging.data() + i * row_bytes;
      if (dtype == Dtype::kF32) {
        std::memcpy(out, row.data(), static_cast<size_t>(row_bytes));
        continue;
      }
      if (dtype == Dtype::kI8) {
        scales.push_back(pack_row(row.data(), weight.cols, narrow, reinterpret_cast<int8_t*>(out)));
        continue;
      }
      uint16_t* halves = reinterpret_cast<uint16_t*>(out);
      for (int64_t k = 0; k < weight.cols; ++k) halves[k] = to_narrow(row[k], narrow);
    }
    FERRY_TRY_VOID(send(static_cast<char*>(device_data) + first * row_bytes, staging.data(),
                        count * row_bytes));
  }
  return scales;
}

}  // namespace

Dtype device_dtype(const quant::StorageFormat& format, const Packing& packing, bool by_head) {
  if (is_plain(format, "F32")) return Dtype::kF32;
  return packing.int8 && is_fp8(format) && !by_head ? Dtype::kI8 : packing.narrow;
}

bool is_exact(const quant::StorageFormat& format, const Packing& packing) {
  const Dtype dtype = device_dtype(format, packing);
  return dtype == Dtype::kF32 || (dtype == Dtype::kBF16 && is_plain(format, "BF16")) ||
         (dtype == Dtype::kF16 && is_plain(format, "F16"));
}

void decode_host_row(const HostWeight& weight, int64_t row, float* out) {
  CHECK(row >= 0 && row < weight.rows);
  const int64_t bytes = weight.format->bytes_for(weight.cols);
  quant::decode_row(*weight.format, weight.data.data() + row * bytes, out, weight.cols);
  if (weight.scale.empty()) return;
  const int64_t grid_cols = ceil_div(weight.cols, weight.scale_cols);
  const float* scale = weight.scale.data() + row / weight.scale_rows * grid_cols;
  for (int64_t k = 0; k < weight.cols; ++k) out[k] *= scale[k / weight.scale_cols];
}

int64_t import_bytes(const HostWeight& weight, const Packing& packing) {
  const Dtype dtype = device_dtype(*weight.format, packing, weight.by_head);
  // Scales are a piece of their own: matrices often fill theirs to the last byte.
  const int64_t scales = weight.rows * dtype_bytes(packing.narrow);
  return MemoryPool::piece_bytes(weight.rows * weight.cols * dtype_bytes(dtype)) +
         (dtype == Dtype::kI8 ? MemoryPool::piece_bytes(scales) : 0);
}

Result<Weight> import_weight(MemoryPool& pool, const SendBytes& send, const HostWeight& weight,
                             const Packing& packing, std::shared_ptr<const void> owner) {
  const quant::StorageFormat& format = *weight.format;
  if (format.decode == nullptr) {
    return unsupported("weights stored as {} can't be computed with", format.name);
  }
  const Dtype dtype = device_dtype(format, packing, weight.by_head);
  auto imported = std::make_shared<DeviceWeight>();
  FERRY_TRY(imported->memory, pool.allocate(weight.rows * weight.cols * dtype_bytes(dtype), owner));
  void* data = imported->memory.data;
  FERRY_TRY(const auto scales, send_rows(send, weight, dtype, packing.narrow, data));
  imported->matrix = TensorView::contiguous(data, dtype, {weight.rows, weight.cols});
  if (dtype == Dtype::kI8) {
    const int64_t bytes = weight.rows * dtype_bytes(packing.narrow);
    FERRY_TRY(imported->scales_memory, pool.allocate(bytes, owner));
    FERRY_TRY_VOID(send(imported->scales_memory.data, scales.data(), bytes));
    imported->scales =
        TensorView::contiguous(imported->scales_memory.data, packing.narrow, {weight.rows});
  }
  imported->host = weight;
  imported->rounded = !is_exact(format, packing);
  if (!imported->rounded) imported->host.keep_alive.reset();  // never looked at again
  return Weight{.view = {.format = &format,
                         .data = data,
                         .rows = weight.rows,
                         .cols = weight.cols,
                         .row_bytes = format.bytes_for(weight.cols),
                         .scale_rows = weight.scale_rows,
                         .scale_cols = weight.scale_cols,
                         .packed = imported.get()},
                .storage = imported};
}

}  // namespace ferry::composed
