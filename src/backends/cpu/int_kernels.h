// Integer matmuls: products with quantised weights where they lie in the file, against activations
// rounded to int8. One table of kernels per instruction set, beside Kernels (kernels.h); formats
// that are not listed are decoded to f32 and multiplied there.
//
// Activations: 32 neighbours of a row share a scale, s = max|x| / 127, and q = round(x / s).
// Weights: g = 16 or 32 neighbours of a row share a scale d, and a minimum m or an offset o:
//
//   w = d (q_w − o)     or     w = d q_w − m        q_w unsigned, up to 8 bits
//
// An output element is one chain over the groups of its row, in ascending order, with the rounding
// of f32 and fused multiply-adds:
//
//   i = Σ_g q_w q_x                                  exact in int32
//   t = (i − o Σ_g q_x) d     or     t = i d + (−m) Σ_g q_x
//   sum = s t + sum
//
// so that it has the same bits in every instruction set, and for one token or a thousand. Integers
// start from −o Σ q_x, which is the same number as long as it fits f32 (24 bits), as it always
// does.
#pragma once

#include <cstdint>

namespace ferry::cpu {

// A row of activations after quantize_row(). Minimums are multiplied with sums as floats, offsets
// with negative sums as integers.
struct QuantRow {
  const int8_t* q = nullptr;                   // [cols]
  const float* scale = nullptr;                // [cols / 32]
  const float* sum = nullptr;                  // [cols / 32] Σ q
  const int32_t* negative_sum = nullptr;       // [cols / 32] −Σ q
  const int32_t* negative_half_sum = nullptr;  // [cols / 16]
};
inline constexpr int64_t kQuantGroup = 32;
// Parts of a row from its start, in bytes: q, then these.
constexpr int64_t quant_scale_at(int64_t cols) { return cols; }
constexpr int64_t quant_sum_at(int64_t cols) { return cols + cols / kQuantGroup * 4; }
constexpr int64_t quant_negative_sum_at(int64_t cols) { return cols + cols / kQuantGroup * 8; }
constexpr int64_t quant_negative_half_sum_at(int64_t cols) {
  return cols + cols / kQuantGroup * 12;
}
// Bytes of one row with all its parts, a multiple of 64. REQUIRES: cols % 32 == 0
constexpr int64_t quant_row_bytes(int64_t cols) {
  return (cols + cols / kQuantGroup * 20 + 63) / 64 * 64;
}
// The row that quantize_row() wrote to `data`.
inline QuantRow quant_row_at(const void* data, int64_t cols) {
  const auto* q = static_cast<const int8_t*>(data);
  const void* const scale = q + quant_scale_at(cols);
  const void* const sum = q + quant_sum_at(cols);
  const void* const negative_sum = q + quant_negative_sum_at(cols);
  const void* const negative_half_sum = q + quant_negative_half_sum_at(cols);
  return {q, static_cast<const float*>(scale), static_cast<const float*>(sum),
          static_cast<const int32_t*>(negative_sum),
          static_cast<const int32_t*>(negative_half_sum)};
}

// Rows of activations as kernels read them: like quant_row_bytes() and quantize_row().
struct RowForm {
  int64_t (*row_bytes)(int64_t cols) = nullptr;  // a multiple of 64
  void (*write_row)(const float* x, int64_t cols, void* data) = nullptr;
};

// out[t][n] = bias[n] + x[t] · W[n] for n in [0, rows), t in [0, tokens).
struct IntMatmulBlock {
  const uint8_t* data = nullptr;  // of the first row
  int64_t row_bytes = 0;
  int64_t cols = 0;
  int64_t rows = 0;             // at most kMaxBlockRows
  const uint8_t* x = nullptr;   // [tokens] rows of quant_row_bytes(cols), one behind the other;
                                // for Bf16Tiles::matmul_block in that form
  int64_t tokens = 0;           // at most kMaxBlockTokens
  const float* bias = nullptr;  // [rows] or nullptr
  float* out = nullptr;
  int64_t out_stride = 0;
  float* scratch = nullptr;  // kIntScratchFloats, aligned to 64 bytes
};
// Accumulators of a block, two panels of unpacked weights with their scales, integer products, rows
// of a block that is no multiple of a vector (int_panels.h).
inline constexpr int64_t kIntScratchFloats = 32 * 96 + 2 * (2048 + 2 * 512) + 16 * 16 * 16 + 2176;

// kPackedRows rows of a matrix, side by side: see packed_rows.h. A packed matrix is its strips one
// behind the other, in as many bytes as its rows, rounded up to whole strips.
inline constexpr int64_t kPackedRows = 16;
// Files hold packed matrices too (DeviceSpec::packed_layout): the number is to change with any byte
// of what pack_strip() writes, of whichever format. No instruction set packs differently.
inline constexpr const char* kPackedLayout = "cpu strips 1";
struct PackStrip {
  const uint8_t* rows = nullptr;  // as they lie in a file
  int64_t row_bytes = 0;
  int64_t cols = 0;
  int64_t count = 0;       // of rows that there are, 1 to kPackedRows
  uint8_t* out = nullptr;  // kPackedRows · row_bytes
};

struct IntFormat {
  const char* format = nullptr;  // StorageFormat::name
  void (*matmul_block)(const IntMatmulBlock& block) = nullptr;
};
// The same products of a packed matrix: `data` is that of a strip, and the bits are the same.
struct PackedFormat {
  const char* format = nullptr;
  void (*matmul_block)(const IntMatmulBlock& block) = nullptr;
  void (*pack_strip)(const PackStrip& strip) = nullptr;
};
struct PackedKernels {
  const PackedFormat* formats;
  int num_formats;
};

struct IntKernels {
  const char* name;
  const IntFormat* formats;
  int num_formats;
  // Fills quant_row_bytes(cols) bytes. A group that holds a NaN or an infinity gets the scale NaN.
  void (*quantize_row)(const float* x, int64_t cols, void* data);
  // Tries the instructions on numbers whose sums are known; nullptr: nothing to try.
  bool (*works)() = nullptr;
  // Of the formats that can be packed.
  const PackedKernels* packed = nullptr;
};

}  // namespace ferry::cpu
