// Weights on the device: see weights.h.
#include "device/composed/weights.h"

#include <algorithm>
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

// Rows of `weight`, converted, to `device_data` in pieces of kStagingBytes.
Status send_rows(const SendBytes& send, const HostWeight& weight, Dtype dtype, void* device_data) {
  const int64_t row_bytes = weight.cols * dtype_bytes(dtype);
  const int64_t rows_at_once =
      std::clamp<int64_t>(kStagingBytes / std::max<int64_t>(row_bytes, 1), 1, weight.rows);
  std::vector<float> row(static_cast<size_t>(weight.cols));
  std::vector<char> staging(static_cast<size_t>(rows_at_once * row_bytes));
  for (int64_t first = 0; first < weight.rows; first += rows_at_once) {
    const int64_t count = std::min(rows_at_once, weight.rows - first);
    for (int64_t i = 0; i < count; ++i) {
      decode_host_row(weight, first + i, row.data());
      char* out = staging.data() + i * row_bytes;
      if (dtype == Dtype::kF32) {
        std::memcpy(out, row.data(), static_cast<size_t>(row_bytes));
        continue;
      }
      uint16_t* halves = reinterpret_cast<uint16_t*>(out);
      for (int64_t k = 0; k < weight.cols; ++k) {
        halves[k] = dtype == Dtype::kBF16 ? f32_to_bf16(row[k]) : f32_to_f16(row[k]);
      }
    }
    FERRY_TRY_VOID(send(static_cast<char*>(device_data) + first * row_bytes, staging.data(),
                        count * row_bytes));
  }
  return {};
}

}  // namespace

Dtype device_dtype(const quant::StorageFormat& format, Dtype narrow) {
  return is_plain(format, "F32") ? Dtype::kF32 : narrow;
}

bool is_exact(const quant::StorageFormat& format, Dtype narrow) {
  const Dtype dtype = device_dtype(format, narrow);
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

int64_t import_bytes(const HostWeight& weight, Dtype narrow) {
  const int64_t bytes =
      weight.rows * weight.cols * dtype_bytes(device_dtype(*weight.format, narrow));
  return MemoryPool::piece_bytes(bytes);
}

Result<Weight> import_weight(MemoryPool& pool, const SendBytes& send, const HostWeight& weight,
                             Dtype narrow, std::shared_ptr<const void> owner) {
  const quant::StorageFormat& format = *weight.format;
  if (format.decode == nullptr) {
    return unsupported("weights stored as {} can't be computed with", format.name);
  }
  const Dtype dtype = device_dtype(format, narrow);
  auto imported = std::make_shared<DeviceWeight>();
  FERRY_TRY(imported->memory, pool.allocate(weight.rows * weight.cols * dtype_bytes(dtype), owner));
  FERRY_TRY_VOID(send_rows(send, weight, dtype, imported->memory.data));
  imported->matrix =
      TensorView::contiguous(imported->memory.data, dtype, {weight.rows, weight.cols});
  imported->host = weight;
  imported->rounded = !is_exact(format, narrow);
  if (!imported->rounded) imported->host.keep_alive.reset();  // never looked at again
  return Weight{.view = {.format = &format,
                         .data = imported->memory.data,
                         .rows = weight.rows,
                         .cols = weight.cols,
                         .row_bytes = format.bytes_for(weight.cols),
                         .scale_rows = weight.scale_rows,
                         .scale_cols = weight.scale_cols,
                         .packed = imported.get()},
                .storage = imported};
}

}  // namespace ferry::composed
