#include "backends/cpu/context.h"

#include <cstdlib>

#include "base/check.h"

namespace ferry::cpu {

CpuContext::CpuContext(Level level, int threads) : kernels_(select_kernels(level)), team_(threads) {
  for (const quant::StorageFormat* format : quant::all_formats()) {
    DecodeFn decode = format->decode;
    for (int i = 0; i < kernels_.num_decoders; ++i) {
      if (format->name == kernels_.decoders[i].format) decode = kernels_.decoders[i].decode;
    }
    if (format->name == "F32") decode = nullptr;  // used where it lies
    decoders_.push_back({format, decode});
  }
}

WeightRows CpuContext::weight_rows(const WeightView& w) const {
  CHECK(w.format != nullptr && w.format->decode != nullptr);
  CHECK(w.rows > 0 && w.cols > 0 && w.cols % w.format->block_elements == 0);
  WeightRows rows{
      .data = static_cast<const uint8_t*>(w.data),
      .row_bytes = w.row_bytes,
      .cols = w.cols,
      .block_elements = w.format->block_elements,
      .block_bytes = w.format->block_bytes,
      .decode = w.format->decode,
  };
  for (const FormatDecoder& entry : decoders_) {
    if (entry.format == w.format) rows.decode = entry.decode;
  }
  if (rows.decode == nullptr) CHECK(w.row_bytes % static_cast<int64_t>(sizeof(float)) == 0);
  if (w.scale != nullptr) {
    rows.scale = w.scale;
    rows.scale_rows = w.scale_rows;
    rows.scale_cols = w.scale_cols;
    rows.scale_stride = ceil_div(w.cols, w.scale_cols);
  }
  return rows;
}

void TeamScratch::reserve(int64_t floats) {
  if (floats <= floats_) return;
  floats_ = round_up(floats, 1024);
  for (auto& buffer : buffers_) {
    buffer.reset();  // the old content is of no use: never hold both
    buffer.reset(
        static_cast<float*>(std::aligned_alloc(64, static_cast<size_t>(floats_) * sizeof(float))));
    CHECK(buffer != nullptr);
  }
}

void TeamScratch::Free::operator()(float* p) const { std::free(p); }

}  // namespace ferry::cpu
