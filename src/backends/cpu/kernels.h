// Kernels: the leaf loops of the cpu backend, one table of function pointers per instruction set.
// They are serial; the stream (cpu_stream.h) splits work between threads and calls them.
//
// The promise that holds for each: an output element is computed by one chain of operations whose
// order depends on the length of its own sum and nothing else — not on the number of rows, on where
// the element lies in a tile, or on which thread runs it.
#pragma once

#include <cstdint>

#include "backends/cpu/int_kernels.h"
#include "base/dtype.h"

namespace ferry::cpu {

// blocks → f32, as StorageFormat::decode and with the same bits.
using DecodeFn = void (*)(const uint8_t* src, float* dst, int64_t num_blocks);

// A weight matrix as a kernel sees it.
struct WeightRows {
  const uint8_t* data = nullptr;
  int64_t row_bytes = 0;
  int64_t cols = 0;
  int64_t block_elements = 1;
  int64_t block_bytes = 4;
  DecodeFn decode = nullptr;  // nullptr: the rows are f32 and used where they lie
  // Where the format is multiplied with rows of another form than f32: the form and the kernel.
  const RowForm* x_form = nullptr;
  void (*form_block)(const IntMatmulBlock& block) = nullptr;
  // The same matrix packed, where it is, and the kernel for it; see packed_rows.h.
  const uint8_t* strips = nullptr;
  void (*strips_block)(const IntMatmulBlock& block) = nullptr;
  const float* scale = nullptr;  // see device/weight.h
  int64_t scale_rows = 1;
  int64_t scale_cols = 1;
  int64_t scale_stride = 0;  // columns of the grid
};

// out[t][n] = bias[n] + Σ_k x[t][k] W[first_row + n][k] for n in [0, rows), t in [0, tokens).
struct MatmulBlock {
  WeightRows w;
  int64_t first_row = 0;
  int64_t rows = 0;                 // at most kMaxBlockRows
  const float* const* x = nullptr;  // [tokens] rows of `cols`
  int64_t tokens = 0;               // at most kMaxBlockTokens
  const float* bias = nullptr;      // of first_row, or nullptr
  float* out = nullptr;             // of (first token, first_row)
  int64_t out_stride = 0;
  float* scratch = nullptr;  // matmul_scratch_floats(w), aligned to 64 bytes
};
inline constexpr int64_t kMaxBlockRows = 32;
inline constexpr int64_t kMaxBlockTokens = 96;

// Keys are visited in tiles of this many absolute positions, whatever the chunking.
inline constexpr int64_t kKeyTile = 64;

// One query against one tile of keys: scores → probabilities, online (Milakov & Gimelshein 2018).
struct SoftmaxRow {
  float* scores = nullptr;  // [kKeyTile] raw products in, exponentials out (0 from num_keys on)
  int64_t num_keys = 0;     // that the query sees, 1 to kKeyTile
  float scale = 0;
  bool first = false;        // no tile before this one
  float* largest = nullptr;  // running maximum
  float* sum = nullptr;      // running sum of exponentials
  float* out = nullptr;      // [size] running weighted sum; rescaled here, set to 0 if first
  int64_t size = 0;
};

// Rows that will be read soon.
struct NextRows {
  const uint8_t* const* rows = nullptr;  // [count]
  int64_t count = 0;
  int64_t bytes = 0;
};

// scores[r][j] = Σ_k q[r][k] keys[j][k] for j in [0, num_keys), num_keys <= kKeyTile
struct KeyScores {
  int64_t rows = 0;
  int64_t num_keys = 0;
  int64_t size = 0;
  const float* q = nullptr;
  int64_t q_stride = 0;
  const float* const* keys = nullptr;  // [num_keys] rows of `size`
  float* scores = nullptr;             // [rows, kKeyTile]
  NextRows next;
};

// out[r] += Σ_j p[r][j] values[j], j ascending
struct AddValues {
  int64_t rows = 0;
  int64_t num_keys = 0;
  int64_t size = 0;
  const float* p = nullptr;              // [rows, kKeyTile]
  const float* const* values = nullptr;  // [num_keys] rows of `size`
  float* out = nullptr;                  // [rows, size], out_stride apart
  int64_t out_stride = 0;
  NextRows next;
};

// A decoder that is faster than the format's own.
struct Decoder {
  const char* format = nullptr;  // StorageFormat::name
  DecodeFn decode = nullptr;
};

struct Kernels {
  const char* name;
  int lanes;

  const Decoder* decoders;  // formats that are not listed use StorageFormat::decode
  int num_decoders;

  int64_t (*matmul_scratch_floats)(const WeightRows& w);
  void (*matmul_block)(const MatmulBlock& block);
  // dst[i][k - first_col] = W[first_row + i][k]. REQUIRES: whole blocks
  void (*decode_rows)(const WeightRows& w, int64_t first_row, int64_t rows, int64_t first_col,
                      int64_t cols, float* dst, int64_t dst_stride);
  // C[m][n] = (accumulate ? C : 0) + Σ_k A[m][k] B[k][n], in ascending order of k.
  void (*gemm)(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_stride, const float* b,
               int64_t b_stride, float* c, int64_t c_stride, bool accumulate);
  // dst[c][r] = src[r][c]
  void (*transpose)(const float* src, int64_t src_stride, int64_t rows, int64_t cols, float* dst,
                    int64_t dst_stride);
  void (*softmax_row)(const SoftmaxRow& row);
  void (*key_scores)(const KeyScores& a);
  void (*add_values)(const AddValues& a);
  // out = a out + b x
  void (*blend)(float a, float* out, float b, const float* x, int64_t n);

  void (*rms_norm)(const float* x, const float* weight, float epsilon, float* out, int64_t n);
  void (*add)(const float* a, const float* b, float* out, int64_t n);
  void (*multiply)(const float* x, float factor, float* out, int64_t n);
  void (*swiglu)(const float* gate, const float* up, float* out, int64_t n);
  // out = Σ_k weights[k] rows[k], in order of k
  void (*weighted_sum)(const float* const* rows, const float* weights, int64_t k, float* out,
                       int64_t n);
  // x rotated in place; `half` cosines and sines
  void (*rope_half)(float* x, const float* cosine, const float* sine, int64_t half);
  void (*rope_interleaved)(float* x, const float* cosine, const float* sine, int64_t half);
  // Between f32 and f16 or bf16, contiguous.
  void (*to_f32)(const uint16_t* src, Dtype dtype, float* dst, int64_t n);
  void (*from_f32)(const float* src, Dtype dtype, uint16_t* dst, int64_t n);
  // dst = scale · src
  void (*scale_int8)(const int8_t* src, float scale, float* dst, int64_t n);
};

}  // namespace ferry::cpu
