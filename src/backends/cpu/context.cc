#include "backends/cpu/context.h"

#include <algorithm>
#include <cstdlib>
#include <span>

#include "base/check.h"

namespace ferry::cpu {

CpuContext::CpuContext(Level level, int threads, bool f32_activations)
    : CpuContext(level, threads, f32_activations,
                 f32_activations ? nullptr : select_bf16_tiles(level, read_cpu_features())) {}

CpuContext::CpuContext(Level level, int threads, bool f32_activations, const Bf16Tiles* tiles)
    : kernels_(select_kernels(level)),
      int_kernels_(f32_activations ? nullptr : select_int_kernels(level, read_cpu_features())),
      bf16_kernels_(f32_activations ? nullptr : select_bf16_kernels(level, read_cpu_features())),
      int8_kernels_(f32_activations ? nullptr : select_int8_kernels(level, read_cpu_features())),
      bf16_tiles_(tiles),
      int_rows_{quant_row_bytes, int_kernels_ == nullptr ? nullptr : int_kernels_->quantize_row},
      team_(threads) {
  for (const quant::StorageFormat* format : quant::all_formats()) {
    DecodeFn decode = format->decode;
    for (int i = 0; i < kernels_.num_decoders; ++i) {
      if (format->name == kernels_.decoders[i].format) decode = kernels_.decoders[i].decode;
    }
    if (format->name == "F32") decode = nullptr;  // used where it lies
    const IntFormat* integer = nullptr;
    for (int i = 0; int_kernels_ != nullptr && i < int_kernels_->num_formats; ++i) {
      if (format->name == int_kernels_->formats[i].format) integer = &int_kernels_->formats[i];
    }
    const PackedFormat* packed = nullptr;
    if (integer != nullptr && int_kernels_->packed != nullptr) {
      const std::span all(int_kernels_->packed->formats,
                          static_cast<size_t>(int_kernels_->packed->num_formats));
      for (const PackedFormat& entry : all) {
        if (format->name == entry.format) packed = &entry;
      }
    }
    decoders_.push_back(
        {format, decode, integer, packed, tiles != nullptr && format->name == "BF16"});
  }
}

bool CpuContext::is_integer(const quant::StorageFormat& format) const {
  return std::any_of(decoders_.begin(), decoders_.end(), [&](const FormatDecoder& entry) {
    return entry.format == &format && entry.integer != nullptr;
  });
}

const PackedFormat* CpuContext::packed_format(const quant::StorageFormat& format) const {
  for (const FormatDecoder& entry : decoders_) {
    if (entry.format == &format) return entry.packed;
  }
  return nullptr;
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
    if (entry.format != w.format) continue;
    rows.decode = entry.decode;
    if (w.scale != nullptr) continue;
    if (entry.integer != nullptr) {
      rows.x_form = &int_rows_;
      rows.form_block = entry.integer->matmul_block;
      rows.strips = packed_strips(w);
      if (rows.strips != nullptr) rows.strips_block = entry.packed->matmul_block;
    } else if (entry.on_tiles && w.cols % 2 == 0) {
      rows.x_form = &bf16_tiles_->split;
      rows.form_block = bf16_tiles_->matmul_block;
    }
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
