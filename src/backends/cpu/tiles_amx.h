// Tiles: products of int8 matrices on AMX. One of two headers with the same names (tiles_plain.h,
// for tests on processors without it); tile_matmul.h is written against them.
//
//        K bytes                 64 bytes                   16 int32
//   16 ┌────────┐     K/4 ┌─────────────────────┐     16 ┌───────────┐
// tokens│ x      │    ×    │ w: 4 neighbours of  │   =  tokens│ products  │   K = 16 or 32 columns
//      └────────┘         │ each of 16 rows     │        └───────────┘
//                         └─────────────────────┘
//
// The instructions are written out: g++ 12's _tile_loadconfig claims to read 8 of the 64 bytes, and
// its _tile_loadd not to read memory at all, so that stores before them may be dropped or delayed.
#pragma once

#include <stdint.h>

namespace ferry::cpu {
namespace {

constexpr int kTileTokens = 16;
constexpr int kTileRows = 16;

// The tile registers of this thread from construction to destruction: 0 to 3 for products of 16
// tokens, 4 and 5 for those of the last few, 6 and 7 for weights.
class Tiles {
 public:
  // group: columns of a product, 16 or 32. ragged: tokens of multiply_ragged, 0 to 15.
  Tiles(int group, int64_t ragged) : group_(group) {
    Config config;
    auto shape = [&config](int tile, int64_t rows, int bytes) {
      config.rows[tile] = static_cast<uint8_t>(rows);
      config.row_bytes[tile] = static_cast<uint16_t>(rows > 0 ? bytes : 0);
    };
    shape(0, kTileTokens, 64);
    shape(1, kTileTokens, 64);
    shape(2, kTileTokens, group);
    shape(3, kTileTokens, group);
    shape(4, ragged, 64);
    shape(5, ragged, group);
    shape(6, group / 4, 64);
    shape(7, group / 4, 64);
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  ~Tiles() { asm volatile("tilerelease" ::: "memory"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  // products[i][t][n] = Σ_k x[t][i group + k] w[i][n][k] for i in [0, count), rows of x `stride`
  // bytes apart. Two products at a time, so that one is loaded while the other is computed.
  void multiply(const uint8_t* x, int64_t stride, const uint8_t* w, int64_t count,
                int32_t* products) const {
    const int64_t w_bytes = int64_t{group_} * kTileRows;
    int64_t i = 0;
    for (; i + 2 <= count; i += 2) {
      asm volatile(
          "tilezero %%tmm0\n\t"
          "tileloadd (%[w0],%[line],1), %%tmm6\n\t"
          "tileloadd (%[x0],%[stride],1), %%tmm2\n\t"
          "tdpbssd %%tmm6, %%tmm2, %%tmm0\n\t"
          "tilezero %%tmm1\n\t"
          "tileloadd (%[w1],%[line],1), %%tmm7\n\t"
          "tileloadd (%[x1],%[stride],1), %%tmm3\n\t"
          "tdpbssd %%tmm7, %%tmm3, %%tmm1\n\t"
          "tilestored %%tmm0, (%[p0],%[line],1)\n\t"
          "tilestored %%tmm1, (%[p1],%[line],1)"
          :
          : [x0] "r"(x + i * group_), [x1] "r"(x + (i + 1) * group_), [stride] "r"(stride),
            [w0] "r"(w + i * w_bytes), [w1] "r"(w + (i + 1) * w_bytes), [line] "r"(int64_t{64}),
            [p0] "r"(products + i * kProduct), [p1] "r"(products + (i + 1) * kProduct)
          : "memory");
    }
    if (i < count) {
      asm volatile(
          "tilezero %%tmm0\n\t"
          "tileloadd (%[w],%[line],1), %%tmm6\n\t"
          "tileloadd (%[x],%[stride],1), %%tmm2\n\t"
          "tdpbssd %%tmm6, %%tmm2, %%tmm0\n\t"
          "tilestored %%tmm0, (%[p],%[line],1)"
          :
          : [x] "r"(x + i * group_), [stride] "r"(stride), [w] "r"(w + i * w_bytes),
            [line] "r"(int64_t{64}), [p] "r"(products + i * kProduct)
          : "memory");
    }
  }
  // The same for `ragged` tokens. REQUIRES: ragged > 0
  void multiply_ragged(const uint8_t* x, int64_t stride, const uint8_t* w, int64_t count,
                       int32_t* products) const {
    for (int64_t i = 0; i < count; ++i) {
      asm volatile(
          "tilezero %%tmm4\n\t"
          "tileloadd (%[w],%[line],1), %%tmm6\n\t"
          "tileloadd (%[x],%[stride],1), %%tmm5\n\t"
          "tdpbssd %%tmm6, %%tmm5, %%tmm4\n\t"
          "tilestored %%tmm4, (%[p],%[line],1)"
          :
          : [x] "r"(x + i * group_), [stride] "r"(stride), [w] "r"(w + i * group_ * kTileRows),
            [line] "r"(int64_t{64}), [p] "r"(products + i * kProduct)
          : "memory");
    }
  }

 private:
  static constexpr int kProduct = kTileTokens * kTileRows;
  // Operand of LDTILECFG, palette 1 (Intel 64 manual, volume 1, chapter 18).
  struct alignas(64) Config {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  };
  static_assert(sizeof(Config) == 64);

  int group_;
};

}  // namespace
}  // namespace ferry::cpu
