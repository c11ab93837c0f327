// Tiles (see tiles_amx.h) in plain C++: so that everything but the instructions themselves is
// tested on every processor.
#pragma once

#include <stdint.h>

namespace ferry::cpu {
namespace {

constexpr int kTileTokens = 16;
constexpr int kTileRows = 16;

class Tiles {
 public:
  Tiles(int group, int64_t ragged) : group_(group), ragged_(ragged) {}

  void multiply(const uint8_t* x, int64_t stride, const uint8_t* w, int64_t count,
                int32_t* products) const {
    run(kTileTokens, x, stride, w, count, products);
  }
  void multiply_ragged(const uint8_t* x, int64_t stride, const uint8_t* w, int64_t count,
                       int32_t* products) const {
    run(ragged_, x, stride, w, count, products);
  }

 private:
  void run(int64_t tokens, const uint8_t* x, int64_t stride, const uint8_t* w, int64_t count,
           int32_t* products) const {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t t = 0; t < tokens; ++t) {
        for (int n = 0; n < kTileRows; ++n) {
          int32_t sum = 0;
          for (int k = 0; k < group_; ++k) {
            sum += static_cast<int8_t>(x[t * stride + i * group_ + k]) *
                   static_cast<int8_t>(w[(i * group_ + k / 4 * 4) * kTileRows + 4 * n + k % 4]);
          }
          products[(i * kTileTokens + t) * kTileRows + n] = sum;
        }
      }
    }
  }

  int group_;
  int64_t ragged_;
};

}  // namespace
}  // namespace ferry::cpu
