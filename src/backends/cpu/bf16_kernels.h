// Bf16Kernels: the products of attention with both factors in bf16 and sums in f32, two products an
// instruction and lane. Used where the cache is bf16 or int8 and the processor has the instruction;
// queries and probabilities are then rounded to bf16 as well, unless activations are to stay f32.
//
// The promise of kernels.h holds: an output is one chain of operations in an order that depends on
// the length of its own sum alone.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels.h"

namespace ferry::cpu {

// KeyScores and AddValues with rows of bf16.
struct Bf16Scores {
  int64_t rows = 0;
  int64_t num_keys = 0;
  int64_t size = 0;
  const uint16_t* q = nullptr;
  int64_t q_stride = 0;
  const uint16_t* const* keys = nullptr;  // [num_keys] rows of `size`
  float* scores = nullptr;                // [rows, kKeyTile]
  NextRows next;
};

struct Bf16Values {
  int64_t rows = 0;
  int64_t num_keys = 0;
  int64_t size = 0;
  const uint16_t* p = nullptr;              // [rows, kKeyTile]
  const uint16_t* const* values = nullptr;  // [num_keys] rows of `size`
  float* out = nullptr;                     // [rows, size], out_stride apart
  int64_t out_stride = 0;
  NextRows next;
};

// c[m][n] = (accumulate ? c : 0) + Σ_k a[m][k] b[k][n], pairs of k ascending. The right factor is
// stored in pairs of neighbouring rows, b[k][n] at b[k / 2 · b_stride + 2 n + k % 2]; where k is
// odd what lies beside the last row is not used, while a[m][k] must be there and finite.
struct Bf16Product {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  const uint16_t* a = nullptr;
  int64_t a_stride = 0;
  const uint16_t* b = nullptr;
  int64_t b_stride = 0;
  float* c = nullptr;
  int64_t c_stride = 0;
  bool accumulate = false;
};

// Products on tiles (tile_product.h). Their sums are not those of vectors to the bit, so what is
// multiplied on tiles is so for any number of tokens.
struct Bf16Tiles {
  const char* name;
  void (*product)(const Bf16Product& a);  // of attention of prompt tokens
  // Of bf16 weights with an even number of columns, and f32 activations each as three bf16.
  RowForm split;
  void (*matmul_block)(const IntMatmulBlock& block);
  bool (*works)();  // the instructions do what is believed of them
};
// k that enter a sum together. What is left of k behind the last whole depth counts as followed by
// zeros: rows of `a` that end in zeros may share a product with longer ones.
inline constexpr int64_t kTileProductDepth = 32;

struct Bf16Kernels {
  void (*key_scores)(const Bf16Scores& a);
  void (*add_values)(const Bf16Values& a);
  void (*product)(const Bf16Product& a);
  // As Kernels::softmax_row, with the exponentials to p [kKeyTile].
  void (*softmax_row)(const SoftmaxRow& row, uint16_t* p);
  // Rows [rows, cols] of f32 or bf16 as a right factor; an odd last row is followed by zeros.
  void (*pair_f32)(const float* src, int64_t src_stride, int64_t rows, int64_t cols, uint16_t* dst,
                   int64_t dst_stride);
  void (*pair_bf16)(const uint16_t* src, int64_t src_stride, int64_t rows, int64_t cols,
                    uint16_t* dst, int64_t dst_stride);
};

}  // namespace ferry::cpu
