// What every form of attention needs of a batch: the tokens of a sequence, and the cached rows of a
// sequence behind its block table, as f32 wherever they lie.
#pragma once

#include <array>
#include <span>

#include "backends/cpu/cpu_stream.h"

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

// Columns [column, column + width) of the cached rows of a sequence.
class PagedRows {
 public:
  PagedRows(const Kernels& kernels, const TensorView& pages, const BatchView& batch,
            int64_t sequence, int64_t column, int64_t width)
      : kernels_(kernels),
        pages_(pages),
        table_(batch.block_tables.host.subspan(static_cast<size_t>(sequence * batch.max_blocks),
                                               static_cast<size_t>(batch.max_blocks))),
        element_bytes_(dtype_bytes(pages.dtype)),
        column_(column),
        width_(width) {
    CHECK(pages.shape[1] == batch.block_size && column + width <= pages.shape[2]);
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

  // The rows as f32: where they lie, or converted to `scratch` [kKeyTile, width].
  void load(int64_t first, int64_t count, float* scratch, TileRows& rows) const {
    TileBytes stored;
    locate(first, count, stored);
    convert(stored, count, scratch, rows);
  }
  void load(const int32_t* positions, int64_t count, float* scratch, TileRows& rows) const {
    TileBytes stored;
    locate(positions, count, stored);
    convert(stored, count, scratch, rows);
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

  const Kernels& kernels_;
  const TensorView& pages_;
  std::span<const int32_t> table_;
  int64_t element_bytes_;
  int64_t column_;
  int64_t width_;
};

inline bool is_cache_dtype(Dtype dtype) {
  return dtype == Dtype::kF32 || dtype == Dtype::kF16 || dtype == Dtype::kBF16;
}

}  // namespace ferry::cpu
