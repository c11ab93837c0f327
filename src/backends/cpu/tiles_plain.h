// Tile registers (see tiles_amx.h) in plain C++, with the arithmetic of the manual: so that
// everything but the instructions themselves is tested on every processor.
#pragma once

#include <stdint.h>

namespace ferry::cpu {
namespace {

constexpr int kNumTiles = 8;
constexpr int kTileLines = 16;
constexpr int kTileBytes = 64;  // of a line

struct TileShape {
  int64_t lines = 0;
  int64_t bytes = 0;
};

class TileRegisters {
 public:
  TileRegisters() = default;
  explicit TileRegisters(const TileShape (&shapes)[kNumTiles]) { shape(shapes); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;

  void shape(const TileShape (&shapes)[kNumTiles]) {
    for (int t = 0; t < kNumTiles; ++t) {
      tiles_[t].shape = shapes[t];
      __builtin_memset(tiles_[t].bytes, 0, sizeof tiles_[t].bytes);
    }
  }

  template <int T>
  void zero() {
    used(tiles_[T]);
    __builtin_memset(tiles_[T].bytes, 0, sizeof tiles_[T].bytes);
  }
  template <int T>
  void load(const void* src, int64_t stride) {
    zero<T>();
    Tile& tile = tiles_[T];
    for (int64_t i = 0; i < tile.shape.lines; ++i) {
      __builtin_memcpy(tile.bytes[i], static_cast<const uint8_t*>(src) + i * stride,
                       static_cast<size_t>(tile.shape.bytes));
    }
  }
  template <int T>
  void store(void* dst, int64_t stride) {
    const Tile& tile = used(tiles_[T]);
    for (int64_t i = 0; i < tile.shape.lines; ++i) {
      __builtin_memcpy(static_cast<uint8_t*>(dst) + i * stride, tile.bytes[i],
                       static_cast<size_t>(tile.shape.bytes));
    }
  }
  template <int C, int A, int B>
  void multiply_int8() {
    Tile& c = check(C, A, B);
    for (int64_t m = 0; m < c.shape.lines; ++m) {
      for (int64_t n = 0; n < c.shape.bytes / 4; ++n) {
        int32_t sum = number<int32_t>(c, m, n);
        for (int64_t k = 0; k < tiles_[A].shape.bytes; ++k) {
          sum += number<int8_t>(tiles_[A], m, k) * number<int8_t>(tiles_[B], k / 4, 4 * n + k % 4);
        }
        __builtin_memcpy(c.bytes[m] + 4 * n, &sum, sizeof sum);
      }
    }
  }
  // Even and odd k each have a chain of fused multiply-adds of their own, from zero on. Numbers
  // below the normal ones count and come out as zero.
  template <int C, int A, int B>
  void multiply_bf16() {
    Tile& c = check(C, A, B);
    for (int64_t m = 0; m < c.shape.lines; ++m) {
      for (int64_t n = 0; n < c.shape.bytes / 4; ++n) {
        float sums[2] = {};
        for (int64_t k = 0; k < tiles_[A].shape.bytes / 2; ++k) {
          const float a = bf16(tiles_[A], m, k), b = bf16(tiles_[B], k / 2, 2 * n + k % 2);
          sums[k % 2] = normal(__builtin_fmaf(a, b, sums[k % 2]));
        }
        const float before = normal(number<float>(c, m, n));
        const float sum = normal(before + normal(sums[0] + sums[1]));
        __builtin_memcpy(c.bytes[m] + 4 * n, &sum, sizeof sum);
      }
    }
  }

 private:
  struct Tile {
    TileShape shape;  // none, until it is given one
    uint8_t bytes[kTileLines][kTileBytes];
  };

  // What the processor takes for a mistake.
  static Tile& used(Tile& tile) {
    if (tile.shape.lines <= 0 || tile.shape.lines > kTileLines || tile.shape.bytes <= 0 ||
        tile.shape.bytes > kTileBytes || tile.shape.bytes % 4 != 0) {
      __builtin_trap();
    }
    return tile;
  }
  Tile& check(int c, int a, int b) {
    if (used(tiles_[a]).shape.lines != used(tiles_[c]).shape.lines ||
        used(tiles_[b]).shape.bytes != tiles_[c].shape.bytes ||
        tiles_[b].shape.lines != tiles_[a].shape.bytes / 4 || a == b || b == c || c == a) {
      __builtin_trap();
    }
    return tiles_[c];
  }
  template <typename T>
  static T number(const Tile& tile, int64_t line, int64_t i) {
    T value;
    __builtin_memcpy(&value, tile.bytes[line] + i * static_cast<int64_t>(sizeof(T)), sizeof value);
    return value;
  }
  static float bf16(const Tile& tile, int64_t line, int64_t i) {
    const uint32_t bits = uint32_t{number<uint16_t>(tile, line, i)} << 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return normal(value);
  }
  static float normal(float value) {
    const bool tiny = __builtin_fabsf(value) < 0x1p-126f;  // false for NaN
    return tiny ? __builtin_copysignf(0.0f, value) : value;
  }

  Tile tiles_[kNumTiles];
};

}  // namespace
}  // namespace ferry::cpu
