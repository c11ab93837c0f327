// Encoding of super-blocks: 256 numbers in sub-blocks of 16 or 32, each with a small integer scale
// (and minimum) that is multiplied by one f16 of the super-block. Used by the formats whose names
// end in _K and by IQ4_XS and IQ4_NL, in three steps, each of least squared error:
//   1. fit every sub-block alone, trying a range of scales around the one that just covers it;
//   2. take the super-block's f16 from the largest fit, and round the fits to its multiples;
//   3. try the neighbouring multiples of each, computing exactly what a decoder would.
// Deterministic: no randomness, no threads, ties go to the first candidate.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "quant/block_fields.h"

namespace ferry::quant {

inline constexpr int kSuperBlock = 256;

// value = d · scale[s] · q − dmin · minimum[s], with s the sub-block of the element.
struct AffineSuperBlock {
  float d = 0;
  float dmin = 0;
  std::array<uint8_t, 16> scale{};
  std::array<uint8_t, 16> minimum{};
  std::array<uint8_t, kSuperBlock> q{};
};

// Sub-blocks of `sub_size`, q in 0..max_q, scales and minimums in 0..max_code. d and dmin are
// halves exactly.
AffineSuperBlock encode_affine(const float* x, int sub_size, int max_q, int max_code);

// A grid is the set of values that q selects. value = d · scale[s] · value(q).
template <int32_t kLow, int32_t kHigh>
struct LinearGrid {
  static constexpr float kEnds[2] = {kLow, kHigh};
  static int index(float v) { return nearest_in(v, kLow, kHigh) - kLow; }
  static float value(int q) { return static_cast<float>(q + kLow); }
};

// The 16 values of the IQ4 formats, denser around zero.
struct Iq4Grid {
  static constexpr float kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};
  static constexpr float kEnds[2] = {-127, 113};
  // kNearest[k + 254] is the code of every v in [k/2, (k+1)/2): the borders between the 16 values
  // are all multiples of 1/2.
  static constexpr std::array<uint8_t, 481> kNearest = [] {
    std::array<uint8_t, 481> table{};
    for (int k = -254; k <= 226; ++k) {
      int q = 0;
      while (q < 15 && 2 * k + 1 > 2 * (kValues[q] + kValues[q + 1])) ++q;
      table[k + 254] = static_cast<uint8_t>(q);
    }
    return table;
  }();
  static int index(float v) { return kNearest[nearest_in(2 * v - 0.5f, -254, 226) + 254]; }
  static float value(int q) { return kValues[q]; }
};

// The scale for which scale · grid is nearest to x. `spread` is how far around the covering scale
// to look: 0.2 tries from 20 % smaller to 20 % larger.
template <typename Grid>
float fit_scale(const float* x, int n, float spread) {
  constexpr int kSteps = 8;
  const float extreme = signed_max(x, n);
  if (std::fabs(extreme) < 0x1p-100f) return 0.0f;  // no half times a code is this small
  double best_gain = 0;
  float best_scale = 0;
  for (float end : Grid::kEnds) {
    for (int step = -kSteps; step <= kSteps; ++step) {
      const float inverse = end / extreme * (1.0f + spread * static_cast<float>(step) / kSteps);
      double xv = 0;
      double vv = 0;
      for (int i = 0; i < n; ++i) {
        const double v = Grid::value(Grid::index(x[i] * inverse));
        xv += v * x[i];
        vv += v * v;
      }
      // With these codes the best scale is xv / vv; it lowers the squared error by xv² / vv.
      if (vv > 0 && xv * xv > best_gain * vv) {
        best_gain = xv * xv / vv;
        best_scale = static_cast<float>(xv / vv);
      }
    }
  }
  return best_scale;
}

// The scale for which scale · {−1, 0, 1} is nearest to 256 numbers: weights that were trained for
// three values have those of one magnitude beside zeros, which any step finds; others are cut.
inline float fit_ternary(const float* x) {
  const float largest = std::fabs(signed_max(x, kSuperBlock));
  if (largest < 0x1p-100f) return 0.0f;
  double best_gain = 0;
  double best_scale = 0;
  for (int step = 2; step <= 16; ++step) {
    const float border = largest * (static_cast<float>(step) / 32);  // half of the scale meant
    double sum = 0;
    double count = 0;
    for (int i = 0; i < kSuperBlock; ++i) {
      const double magnitude = std::fabs(x[i]);
      sum += magnitude > border ? magnitude : 0;
      count += magnitude > border ? 1 : 0;
    }
    if (count == 0 || sum * sum <= best_gain * count) continue;
    best_gain = sum * sum / count;
    best_scale = sum / count;
  }
  return static_cast<float>(best_scale);
}

// Σ (x − scale · grid)², each x at the code that an encoder would give it.
template <typename Grid>
double grid_error(const float* x, int n, float scale) {
  const float inverse = inverse_or_zero(scale);
  double sum = 0;
  for (int i = 0; i < n; ++i) {
    const double difference = x[i] - scale * Grid::value(Grid::index(x[i] * inverse));
    sum += difference * difference;
  }
  return sum;
}

// value = d · scale[s] · grid(q[i]), with s the sub-block of the element.
struct GridSuperBlock {
  float d = 0;
  std::array<int8_t, 16> scale{};
  std::array<uint8_t, kSuperBlock> q{};
};

// Scales in low_code..high_code. REQUIRES: low_code < 0 has the larger magnitude
template <typename Grid>
GridSuperBlock encode_on_grid(const float* x, int sub_size, float spread, int low_code,
                              int high_code) {
  GridSuperBlock out;
  const int num_subs = kSuperBlock / sub_size;
  std::array<float, 16> fits{};
  for (int s = 0; s < num_subs; ++s) fits[s] = fit_scale<Grid>(x + s * sub_size, sub_size, spread);
  const float widest = signed_max(fits.data(), num_subs);
  out.d =
      f16_to_f32(f32_to_f16(std::clamp(widest / static_cast<float>(low_code), -kF16Max, kF16Max)));
  const float inverse_d = inverse_or_zero(out.d);
  for (int s = 0; s < num_subs; ++s) {
    const float* sub = x + s * sub_size;
    const int middle = nearest_in(fits[s] * inverse_d, low_code, high_code);
    int best = middle;
    double best_error = grid_error<Grid>(sub, sub_size, out.d * static_cast<float>(middle));
    for (int code : {middle - 1, middle + 1}) {
      if (code < low_code || code > high_code) continue;
      const double error = grid_error<Grid>(sub, sub_size, out.d * static_cast<float>(code));
      if (error < best_error) {
        best = code;
        best_error = error;
      }
    }
    out.scale[s] = static_cast<int8_t>(best);
    const float inverse = inverse_or_zero(out.d * static_cast<float>(best));
    for (int i = 0; i < sub_size; ++i) {
      out.q[s * sub_size + i] = static_cast<uint8_t>(Grid::index(sub[i] * inverse));
    }
  }
  return out;
}

// The 12 bytes of Q4_K and Q5_K: eight pairs of 6-bit scales and minimums.
//   byte s (s < 4)      scale s in the low 6 bits, the high 2 bits of scale s+4 above
//   byte s+4 (s < 4)    minimum s in the low 6 bits, the high 2 bits of minimum s+4 above
//   byte s+8 (s < 4)    low 4 bits of scale s+4, low 4 bits of minimum s+4 above
inline void unpack_scales_6bit(const uint8_t* p, uint8_t* scale, uint8_t* minimum) {
  for (int s = 0; s < 4; ++s) {
    scale[s] = p[s] & 63;
    minimum[s] = p[s + 4] & 63;
    scale[s + 4] = static_cast<uint8_t>((p[s + 8] & 15) | p[s] >> 6 << 4);
    minimum[s + 4] = static_cast<uint8_t>(p[s + 8] >> 4 | p[s + 4] >> 6 << 4);
  }
}
inline void pack_scales_6bit(const uint8_t* scale, const uint8_t* minimum, uint8_t* p) {
  for (int s = 0; s < 4; ++s) {
    p[s] = static_cast<uint8_t>(scale[s] | scale[s + 4] >> 4 << 6);
    p[s + 4] = static_cast<uint8_t>(minimum[s] | minimum[s + 4] >> 4 << 6);
    p[s + 8] = static_cast<uint8_t>((scale[s + 4] & 15) | (minimum[s + 4] & 15) << 4);
  }
}

}  // namespace ferry::quant
