// Tile registers: those of AMX. One of two headers with the same names (tiles_plain.h, for tests on
// processors without it); tile_matmul.h and tile_product.h are written against them.
//
//        64 bytes                64 bytes                   16 int32 or f32
//   16 ┌────────┐         16 ┌─────────────────────┐     16 ┌───────────┐
//      │ a      │    ×       │ b: 4 or 2 elements  │  +=    │ c         │   K = 64 int8, 32 bf16
//      └────────┘            │ of each of 16 cols  │        └───────────┘
//                            └─────────────────────┘
//
// The instructions are written out: g++ 12's _tile_loadconfig claims to read 8 of the 64 bytes, and
// its _tile_loadd not to read memory at all, so that stores before them may be dropped or delayed.
// All are volatile, which keeps them in order; the compiler has no use for tiles of its own.
#pragma once

#include <stdint.h>

namespace ferry::cpu {
namespace {

constexpr int kNumTiles = 8;
constexpr int kTileLines = 16;
constexpr int kTileBytes = 64;  // of a line

// A smaller shape leaves out lines and columns of any tile; 0 lines: the tile is not used.
struct TileShape {
  int64_t lines = 0;
  int64_t bytes = 0;
};

// The tile registers of this thread from construction to destruction. Shapes come first.
class TileRegisters {
 public:
  TileRegisters() = default;
  explicit TileRegisters(const TileShape (&shapes)[kNumTiles]) { shape(shapes); }
  ~TileRegisters() { asm volatile("tilerelease" ::: "memory"); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;

  // New shapes; every register becomes zero.
  void shape(const TileShape (&shapes)[kNumTiles]) {
    Config config;
    for (int t = 0; t < kNumTiles; ++t) {
      config.lines[t] = static_cast<uint8_t>(shapes[t].lines);
      config.line_bytes[t] = static_cast<uint16_t>(shapes[t].lines > 0 ? shapes[t].bytes : 0);
    }
    asm volatile("ldtilecfg %0" ::"m"(config));
  }

  template <int T>
  void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(T));
  }
  // Lines `stride` bytes apart.
  template <int T>
  void load(const void* src, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(src), "r"(stride), "i"(T) : "memory");
  }
  template <int T>
  void store(void* dst, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(dst), "r"(stride), "i"(T) : "memory");
  }
  // c[m][n] += Σ_k a[m][k] b[k / 4][4 n + k % 4]
  template <int C, int A, int B>
  void multiply_int8() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
  }
  // c[m][n] += Σ_k a[m][k] b[k / 2][2 n + k % 2], see tile_product.h for the order
  template <int C, int A, int B>
  void multiply_bf16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
  }

 private:
  // Operand of LDTILECFG, palette 1 (Intel 64 manual, volume 1, chapter 18).
  struct alignas(64) Config {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t line_bytes[16] = {};
    uint8_t lines[16] = {};
  };
  static_assert(sizeof(Config) == 64);
};

}  // namespace
}  // namespace ferry::cpu
