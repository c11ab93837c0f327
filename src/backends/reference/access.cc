// Element access of the reference ops: see access.h.
#include "backends/reference/access.h"

#include "base/half.h"

namespace ferry::reference {

float load(const void* data, Dtype dtype, int64_t i) {
  if (dtype == Dtype::kF16) return f16_to_f32(static_cast<const uint16_t*>(data)[i]);
  if (dtype == Dtype::kBF16) return bf16_to_f32(static_cast<const uint16_t*>(data)[i]);
  CHECK(dtype == Dtype::kF32);
  return static_cast<const float*>(data)[i];
}

void store(void* data, Dtype dtype, int64_t i, float value) {
  if (dtype == Dtype::kF16) {
    static_cast<uint16_t*>(data)[i] = f32_to_f16(value);
  } else if (dtype == Dtype::kBF16) {
    static_cast<uint16_t*>(data)[i] = f32_to_bf16(value);
  } else {
    CHECK(dtype == Dtype::kF32);
    static_cast<float*>(data)[i] = value;
  }
}

void decode_row(const WeightView& w, int64_t n, float* dst) {
  CHECK(n >= 0 && n < w.rows && w.format->decode != nullptr);
  CHECK(w.cols % w.format->block_elements == 0);
  const uint8_t* blocks = static_cast<const uint8_t*>(w.data) + n * w.row_bytes;
  w.format->decode(blocks, dst, w.cols / w.format->block_elements);
  if (w.scale == nullptr) return;
  const int64_t grid_cols = (w.cols + w.scale_cols - 1) / w.scale_cols;
  const float* scale = w.scale + n / w.scale_rows * grid_cols;
  for (int64_t k = 0; k < w.cols; ++k) dst[k] *= scale[k / w.scale_cols];
}

std::vector<float> decode_rows(const WeightView& w, int64_t first, int64_t count) {
  std::vector<float> rows(static_cast<size_t>(count * w.cols));
  for (int64_t i = 0; i < count; ++i) decode_row(w, first + i, rows.data() + i * w.cols);
  return rows;
}

}  // namespace ferry::reference
