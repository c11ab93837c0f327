// Bf16Product on tiles (include vec_avx512.h and a tiles_*.h first), for attention of prompt tokens
// and bf16 weights.
//
//   2 × 2 tiles of c                                  1 × 4 where 16 rows or fewer are left
//            b₀    b₁     4 loads of 1 KB for                  b₀   b₁   b₂   b₃
//        a₀  c₀₀   c₀₁    4 products of                    a₀  c₀₀  c₀₁  c₀₂  c₀₃
//        a₁  c₁₀   c₁₁    16 × 16 × 32
//
// A right factor in pairs is what the tiles want, so both factors are loaded where they lie. Ragged
// rows and columns have tiles of their own shape; k is filled up to 32 with zeros, in scratch.
//
// A product of three tiles takes 16 cycles, a load from L1 8, and a product's result is there after
// 52, so four sums at a time keep the multipliers busy. vdpbf16ps needs 256 instructions for as
// much. V2-Lite, a head and a tile of 64 keys: 1024 products to expand them, once for all queries,
// and 72 for the scores and 48 for the values of 48 queries.
//
// Order of a sum, by the manual: TDPBF16PS adds up the even k of its 32 in one chain of fused
// multiply-adds from zero, the odd in another, and adds the sum of both to c. VDPBF16PS adds both
// products of a pair to c itself. The bits differ, so however few the rows are, they go through
// tiles: a row's bits depend on its own numbers and on k. Products with zero change no sum; so rows
// of a triangle share products (weigh_values_on_tiles() in prefill_bf16.cc).
#pragma once

#include "backends/cpu/bf16_kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

static_assert(kTileProductDepth * 2 == kTileBytes);
constexpr int64_t kTileCols = 16;
constexpr int64_t kMostTileCols = 4 * kTileCols;  // of a block

// The tile registers of this thread, for one product after another.
class TileProducts {
 public:
  void multiply(const Bf16Product& product) {
    p_ = product;
    whole_ = product.k / kTileProductDepth * kTileProductDepth;
    for (int64_t row = 0; row < p_.m; row += 2 * kTileLines) {
      const int64_t rows = p_.m - row < 2 * kTileLines ? p_.m - row : 2 * kTileLines;
      if (whole_ < p_.k) fill_left(row, rows);
      if (rows > kTileLines) {
        run_rows<2>(row, rows - kTileLines);
      } else {
        run_rows<1>(row, rows);
      }
    }
  }

 private:
  // Tile registers: c from 0 on, then a, then b, which take turns.
  template <int M, int N>
  static constexpr int c_tile(int m, int n) {
    static_assert(M * N <= 4 && M <= 2);
    return m * N + n;
  }
  static constexpr int a_tile(int m) { return 4 + m; }
  template <int M>
  static constexpr int b_tile(int n) {
    return 4 + M + n % (4 - M);
  }

  // M tiles of rows, the last of last_rows, × all columns.
  template <int M>
  void run_rows(int64_t row, int64_t last_rows) {
    int64_t col = 0;
    if constexpr (M == 1) {
      for (; col + 4 * kTileCols <= p_.n; col += 4 * kTileCols) {
        run_block<1, 4>(row, col, last_rows, kTileCols);
      }
    }
    for (; p_.n - col > kTileCols; col += 2 * kTileCols) {
      const int64_t second = p_.n - col - kTileCols;
      run_block<M, 2>(row, col, last_rows, second < kTileCols ? second : kTileCols);
    }
    if (col < p_.n) run_block<M, 1>(row, col, last_rows, p_.n - col);
  }

  template <int M, int N>
  void run_block(int64_t row, int64_t col, int64_t last_rows, int64_t last_cols) {
    shape<M, N>(last_rows, last_cols);
    float* const c = p_.c + row * p_.c_stride + col;
    for_c_tiles<M, N>([&]<int T>(int m, int n) {
      if (p_.accumulate) {
        tiles_.load<T>(c + m * kTileLines * p_.c_stride + n * kTileCols, 4 * p_.c_stride);
      } else {
        tiles_.zero<T>();
      }
    });
    const int64_t whole = whole_, a_stride = p_.a_stride, b_stride = p_.b_stride;
    const uint16_t* a = p_.a + row * a_stride;
    const uint16_t* b = p_.b + 2 * col;
    for (int64_t k = 0; k < whole; k += kTileProductDepth) {
      multiply<M, N>(a, a_stride, b, b_stride);
      a += kTileProductDepth;
      b += kTileProductDepth / 2 * b_stride;
    }
    if (whole < p_.k) {
      fill_right(b, (N - 1) * kTileCols + last_cols);
      multiply<M, N>(left_[0], kTileProductDepth, right_[0], 2 * kMostTileCols);
    }
    for_c_tiles<M, N>([&]<int T>(int m, int n) {
      tiles_.store<T>(c + m * kTileLines * p_.c_stride + n * kTileCols, 4 * p_.c_stride);
    });
  }

  // c += 32 of k.
  template <int M, int N>
  void multiply(const uint16_t* a, int64_t a_stride, const uint16_t* b, int64_t b_stride) {
    multiply_column<M, N, 0>(a, a_stride, b, b_stride);
    if constexpr (N > 1) multiply_column<M, N, 1>(a, a_stride, b, b_stride);
    if constexpr (N > 2) multiply_column<M, N, 2>(a, a_stride, b, b_stride);
    if constexpr (N > 2) multiply_column<M, N, 3>(a, a_stride, b, b_stride);
  }
  template <int M, int N, int Col>
  void multiply_column(const uint16_t* a, int64_t a_stride, const uint16_t* b, int64_t b_stride) {
    constexpr int kB = b_tile<M>(Col);
    tiles_.load<kB>(b + Col * 2 * kTileCols, 2 * b_stride);
    if constexpr (Col == 0) tiles_.load<a_tile(0)>(a, 2 * a_stride);
    tiles_.multiply_bf16<c_tile<M, N>(0, Col), a_tile(0), kB>();
    if constexpr (M > 1) {
      if constexpr (Col == 0) tiles_.load<a_tile(1)>(a + kTileLines * a_stride, 2 * a_stride);
      tiles_.multiply_bf16<c_tile<M, N>(1, Col), a_tile(1), kB>();
    }
  }

  template <int M, int N, typename F>
  static void for_c_tiles(F f) {
    f.template operator()<c_tile<M, N>(0, 0)>(0, 0);
    if constexpr (N > 1) f.template operator()<c_tile<M, N>(0, 1)>(0, 1);
    if constexpr (N > 2) f.template operator()<c_tile<M, N>(0, 2)>(0, 2);
    if constexpr (N > 2) f.template operator()<c_tile<M, N>(0, 3)>(0, 3);
    if constexpr (M > 1) f.template operator()<c_tile<M, N>(1, 0)>(1, 0);
    if constexpr (M > 1 && N > 1) f.template operator()<c_tile<M, N>(1, 1)>(1, 1);
  }

  // Tells the processor, unless it knows already: that takes longer than some products. Whole tiles
  // are the same in every block.
  template <int M, int N>
  void shape(int64_t last_rows, int64_t last_cols) {
    const bool whole = last_rows == kTileLines && last_cols == kTileCols;
    const int64_t wanted = whole ? 0 : ((last_rows * 32 + last_cols) * 2 + (M - 1)) * 4 + (N - 1);
    if (wanted == shape_) return;
    shape_ = wanted;
    TileShape shapes[kNumTiles];
    for (TileShape& s : shapes) s = {kTileLines, kTileBytes};
    for (int n = 0; n < N; ++n) shapes[c_tile<M, N>(M - 1, n)].lines = last_rows;
    for (int m = 0; m < M; ++m) shapes[c_tile<M, N>(m, N - 1)].bytes = 4 * last_cols;
    shapes[a_tile(M - 1)].lines = last_rows;
    shapes[b_tile<M>(N - 1)].bytes = 4 * last_cols;
    tiles_.shape(shapes);
  }

  // What is left of k, followed by zeros.
  void fill_left(int64_t row, int64_t rows) {
    const uint32_t some = (uint32_t{1} << (p_.k - whole_)) - 1;
    for (int64_t i = 0; i < rows; ++i) {
      const uint16_t* a = p_.a + (row + i) * p_.a_stride + whole_;
      _mm512_store_si512(left_[i], _mm512_maskz_loadu_epi16(some, a));
    }
  }
  void fill_right(const uint16_t* b, int64_t cols) {
    const int64_t rest = p_.k - whole_;
    for (int64_t i = 0; i < kTileLines; ++i, b += p_.b_stride) {
      const int32_t both = 2 * i + 1 < rest ? -1 : 2 * i < rest ? 0xffff : 0;
      for (int64_t n = 0; n < cols; n += kTileCols) {
        const int left = static_cast<int>(cols - n < kTileCols ? cols - n : kTileCols);
        const __mmask16 lanes = both != 0 ? first_lanes(left) : __mmask16{0};
        const __m512i pairs = _mm512_maskz_loadu_epi32(lanes, b + 2 * n);
        _mm512_store_si512(right_[i] + 2 * n, _mm512_and_si512(pairs, _mm512_set1_epi32(both)));
      }
    }
  }

  Bf16Product p_;      // the current one
  int64_t whole_ = 0;  // of its k, that lies in whole tiles
  int64_t shape_ = -1;
  TileRegisters tiles_;
  alignas(64) uint16_t left_[2 * kTileLines][kTileProductDepth];
  alignas(64) uint16_t right_[kTileLines][2 * kMostTileCols];
};

void product_on_tiles(const Bf16Product& a) { TileProducts().multiply(a); }

// Whether b' a' has the bits of a b, as tile_split_matmul.h expects it.
bool tile_sides_agree() {
  constexpr int64_t kM = 21, kK = 64;
  alignas(64) uint16_t a[kM * kK], b[kK];
  float column[kM] = {}, row[kM] = {};
  uint16_t pairs[kK * kM];
  uint32_t state = 2;
  // Seven random bits behind the first, 1/8 to 16, of any sign.
  auto next = [&state] {
    state = state * 1664525 + 1013904223;
    return static_cast<uint16_t>((state >> 16 & 0x807f) | (124 + (state >> 13 & 7)) << 7);
  };
  for (uint16_t& value : a) value = next();
  for (uint16_t& value : b) value = next();
  for (int64_t i = 0; i < kM * kK; ++i) {
    const int64_t m = i / kK, k = i % kK;
    pairs[k / 2 * 2 * kM + 2 * m + k % 2] = a[i];
  }
  product_on_tiles({.m = kM,
                    .n = 1,
                    .k = kK,
                    .a = a,
                    .a_stride = kK,
                    .b = b,
                    .b_stride = 2,
                    .c = column,
                    .c_stride = 1});
  product_on_tiles({.m = 1,
                    .n = kM,
                    .k = kK,
                    .a = b,
                    .a_stride = kK,
                    .b = pairs,
                    .b_stride = 2 * kM,
                    .c = row,
                    .c_stride = kM});
  return __builtin_memcmp(column, row, sizeof row) == 0;
}

// Products of each kind of block against plain sums of small whole numbers, which are exact in any
// order: whatever this program believes of the instructions and the machine underneath (an
// emulator, a hypervisor) does not, shows here and not in an answer.
bool tile_products_agree() {
  constexpr int64_t kM = 51, kN = 117, kK = 77;
  uint16_t a[kM * kK], b[(kK + 1) / 2 * 2 * kN];
  float c[kM * kN];
  uint32_t state = 1;
  auto next = [&state] {
    return static_cast<int>((state = state * 1664525 + 1013904223) >> 28) - 8;
  };
  auto bf16_of = [](int i) {
    const float value = static_cast<float>(i);
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return static_cast<uint16_t>(bits >> 16);
  };
  int8_t whole_a[kM * kK], whole_b[kK * kN];
  for (int64_t i = 0; i < kM * kK; ++i) {
    const int value = next();
    whole_a[i] = static_cast<int8_t>(value);
    a[i] = bf16_of(value);
  }
  for (int64_t k = 0; k < kK; ++k) {
    for (int64_t n = 0; n < kN; ++n) {
      const int value = next();
      whole_b[k * kN + n] = static_cast<int8_t>(value);
      b[k / 2 * 2 * kN + 2 * n + k % 2] = bf16_of(value);
    }
  }
  const int64_t shapes[][3] = {{48, 112, 64}, {kM, kN, kK}, {19, 37, 45}, {1, 64, 2}, {16, 5, 33}};
  bool agree = true;
  for (const auto& [rows, cols, depth] : shapes) {
    for (float& value : c) value = 1;
    product_on_tiles({.m = rows,
                      .n = cols,
                      .k = depth,
                      .a = a,
                      .a_stride = kK,
                      .b = b,
                      .b_stride = 2 * kN,
                      .c = c,
                      .c_stride = kN,
                      .accumulate = true});
    for (int64_t i = 0; i < kM * kN; ++i) {
      const bool inside = i / kN < rows && i % kN < cols;
      int sum = 1;
      for (int64_t k = 0; inside && k < depth; ++k) {
        sum += whole_a[i / kN * kK + k] * whole_b[k * kN + i % kN];
      }
      agree = agree && c[i] == static_cast<float>(sum);
    }
  }
  return agree && tile_sides_agree();
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
