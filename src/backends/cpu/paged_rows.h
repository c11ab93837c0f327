// What every form of attention needs of a batch: the tokens of a sequence, and the cached rows of a
// sequence behind its block table, as f32 wherever they lie.
#pragma once

#include <array>
#include <span>

#include "backends/cpu/cpu_stream.h"
#include "device/int8_rows.h"

namespace ferry::cpu {

// The tokens of one sequence in this batch, and how many keys each of them sees.
struct Tokens {
  int64_t first, last, context_length;

  Tokens(const BatchView& batch, int64_t sequence)
      : first(batch.query_start.host[sequence]),
        last(batch.query_start.host[sequence + 1]),
        context_length(batch.context_lengths.host[sequence]) {
    CHECK(first <= last && last - first <= context_length);
    CHECK(context_length <= batch.max_blocks * batch.block_size);
  }
  int64_t num_keys(int64_t token) const { return context_length - (last - 1 - token); }
};

// Rows of one tile of keys.
using TileRows = std::array<const float*, kKeyTile>;
using TileBytes = std::array<const uint8_t*, kKeyTile>;
using TileHalves = std::array<const uint16_t*, kKeyTile>;
using TileScales = std::array<const float*, kKeyTile>;

// Columns [column, column + width) of the cached rows of a sequence; as int8, `group` of them share
// a scale, and `column` begins a group.
class PagedRows {
 public:
  PagedRows(const Kernels& kernels, const TensorView& pages, const BatchView& batch,
            int64_t sequence, int64_t column, int64_t width, int64_t group)
      : kernels_(kernels),
        pages_(pages),
        table_(batch.block_tables.host.subspan(static_cast<size_t>(sequence * batch.max_blocks),
                                               static_cast<size_t>(batch.max_blocks))),
        element_bytes_(dtype_bytes(pages.dtype)),
        column_(column),
        width_(width),
        group_(group) {
    CHECK(pages.shape[1] == batch.block_size && column + width <= pages.shape[2]);
    CHECK(group > 0 && column % group == 0);
    if (pages.dtype != Dtype::kI8) return;
    first_scale_ = int8_scales(pages, 0, 0, group) + column / group;
    scale_stride_ = ceil_div(pages.shape[2], group);
  }

  int64_t bytes() const { return width_ * element_bytes_; }

  // Where the rows of positions [first, first + count) lie, count <= kKeyTile.
  void locate(int64_t first, int64_t count, TileBytes& rows) const {
    const int64_t block_size = pages_.shape[1];
    int64_t block = first / block_size;
    int64_t offset = first % block_size;
    for (int64_t i = 0; i < count; ++block, offset = 0) {
      const int64_t page = table_[static_cast<size_t>(block)];
      CHECK(page >= 0 && page < pages_.shape[0]);
      const uint8_t* base = static_cast<const uint8_t*>(pages_.data) +
                            (page * pages_.stride[0] + column_) * element_bytes_;
      for (; offset < block_size && i < count; ++offset, ++i) {
        rows[static_cast<size_t>(i)] = base + offset * pages_.stride[1] * element_bytes_;
      }
    }
  }

  // Where the rows of these positions lie, count <= kKeyTile.
  void locate(const int32_t* positions, int64_t count, TileBytes& rows) const {
    const int64_t block_size = pages_.shape[1];
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      const int64_t page = table_[static_cast<size_t>(positions[i] / block_size)];
      CHECK(page >= 0 && page < pages_.shape[0]);
      const int64_t row = page * pages_.stride[0] + positions[i] % block_size * pages_.stride[1];
      rows[i] = static_cast<const uint8_t*>(pages_.data) + (row + column_) * element_bytes_;
    }
  }

  // The scales of the same int8 rows, from that of the first column on.
  void locate_scales(int64_t first, int64_t count, TileScales& scales) const {
    const int64_t block_size = pages_.shape[1];
    int64_t block = first / block_size;
    int64_t offset = first % block_size;
    for (int64_t i = 0; i < count; ++block, offset = 0) {
      const float* base = scales_of(table_[static_cast<size_t>(block)]);
      for (; offset < block_size && i < count; ++offset, ++i) {
        scales[static_cast<size_t>(i)] = base + offset * scale_stride_;
      }
    }
  }
  void locate_scales(const int32_t* positions, int64_t count, TileScales& scales) const {
    const int64_t block_size = pages_.shape[1];
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      const int64_t page = table_[static_cast<size_t>(positions[i] / block_size)];
      scales[i] = scales_of(page) + positions[i] % block_size * scale_stride_;
    }
  }

  // The rows as f32: where they lie, or converted to `scratch` [kKeyTile, width].
  template <typename Positions>
  void load(Positions positions, int64_t count, float* scratch, TileRows& rows) const {
    TileBytes stored;
    locate(positions, count, stored);
    if (pages_.dtype == Dtype::kI8) {
      TileScales scales;
      locate_scales(positions, count, scales);
      convert_int8(stored, scales, count, scratch, rows);
    } else {
      convert(stored, count, scratch, rows);
    }
  }

  // The rows as bf16: where they lie, or rounded to `scratch` [kKeyTile, width] by way of `floats`
  // [width]. REQUIRES: bf16 or int8
  template <typename Positions>
  void load_bf16(Positions positions, int64_t count, uint16_t* scratch, float* floats,
                 TileHalves& rows) const {
    TileBytes stored;
    locate(positions, count, stored);
    if (pages_.dtype == Dtype::kBF16) {
      for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
        rows[i] = reinterpret_cast<const uint16_t*>(stored[i]);
      }
      return;
    }
    TileScales scales;
    locate_scales(positions, count, scales);
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      convert_int8_row(stored[i], scales[i], floats);
      uint16_t* dst = scratch + static_cast<int64_t>(i) * width_;
      kernels_.from_f32(floats, Dtype::kBF16, dst, width_);
      rows[i] = dst;
    }
  }

  // The same one behind the other, at dst [count, width].
  void copy_bf16(int64_t first, int64_t count, uint16_t* dst, float* floats) const {
    TileHalves rows;
    load_bf16(first, count, dst, floats, rows);
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      uint16_t* row = dst + static_cast<int64_t>(i) * width_;
      if (rows[i] != row) std::memcpy(row, rows[i], static_cast<size_t>(width_) * sizeof(uint16_t));
    }
  }

  // The rows as f32 one behind the other, at dst [count, width].
  void copy(int64_t first, int64_t count, float* dst) const {
    TileRows rows;
    load(first, count, dst, rows);
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      float* row = dst + static_cast<int64_t>(i) * width_;
      if (rows[i] != row) std::memcpy(row, rows[i], static_cast<size_t>(width_) * sizeof(float));
    }
  }

 private:
  void convert(const TileBytes& stored, int64_t count, float* scratch, TileRows& rows) const {
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      if (pages_.dtype == Dtype::kF32) {
        rows[i] = reinterpret_cast<const float*>(stored[i]);
        continue;
      }
      float* dst = scratch + static_cast<int64_t>(i) * width_;
      kernels_.to_f32(reinterpret_cast<const uint16_t*>(stored[i]), pages_.dtype, dst, width_);
      rows[i] = dst;
    }
  }

  void convert_int8(const TileBytes& stored, const TileScales& scales, int64_t count,
                    float* scratch, TileRows& rows) const {
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      float* dst = scratch + static_cast<int64_t>(i) * width_;
      convert_int8_row(stored[i], scales[i], dst);
      rows[i] = dst;
    }
  }
  void convert_int8_row(const uint8_t* stored, const float* scales, float* dst) const {
    const int8_t* src = reinterpret_cast<const int8_t*>(stored);
    for (int64_t begin = 0; begin < width_; begin += group_) {
      kernels_.scale_int8(src + begin, scales[begin / group_], dst + begin,
                          std::min(group_, width_ - begin));
    }
  }

  const float* scales_of(int64_t page) const {
    return first_scale_ + page * pages_.stride[0] / static_cast<int64_t>(sizeof(float));
  }

  const Kernels& kernels_;
  const TensorView& pages_;
  std::span<const int32_t> table_;
  int64_t element_bytes_;
  int64_t column_;
  int64_t width_;
  int64_t group_;
  const float* first_scale_ = nullptr;  // int8 only
  int64_t scale_stride_ = 0;
};

inline bool is_cache_dtype(Dtype dtype) {
  return dtype == Dtype::kF32 || dtype == Dtype::kF16 || dtype == Dtype::kBF16 ||
         dtype == Dtype::kI8;
}

}  // namespace ferry::cpu
