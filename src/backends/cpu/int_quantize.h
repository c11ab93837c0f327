// Rows of activations to int8 (include a vec_*.h and its bytes_*.h first).
#pragma once

#include "backends/cpu/int_kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

inline void quantize_row(const float* x, int64_t cols, void* data) {
  auto* q = static_cast<int8_t*>(data);
  float* scale = static_cast<float*>(static_cast<void*>(q + cols));
  const int64_t groups = cols / kQuantGroup;
  float* sum = scale + groups;
  auto* negative_sum = static_cast<int32_t*>(static_cast<void*>(sum + groups));
  int32_t* negative_half_sum = negative_sum + groups;
  for (int64_t g = 0; g < groups; ++g) {
    const float* in = x + g * kQuantGroup;
    Vec largest = vzero(), total = vzero();
#pragma GCC unroll 4
    for (int i = 0; i < kQuantGroup; i += kLanes) {
      const Vec magnitude = vabs(vload(in + i));
      largest = vmax(magnitude, largest);
      total = vadd(total, magnitude);  // NaN or infinite if one of them is
    }
    const float most = vlargest(largest);
    const bool finite = vsum(total) <= __FLT_MAX__;
    // Below this the quotient 127 / most could leave the range of f32.
    const float factor = finite && most > 1e-36f ? 127.0f / most : 0.0f;
    const bool rounds_to_zero = factor == 0.0f;
    alignas(64) float zeros[kQuantGroup] = {};
    const float* from = rounds_to_zero ? zeros : in;
    const int32_t first = quantize16(from, factor, q + g * kQuantGroup);
    const int32_t second = quantize16(from + 16, factor, q + g * kQuantGroup + 16);
    scale[g] = !finite ? __builtin_nanf("") : rounds_to_zero ? 0.0f : most / 127.0f;
    sum[g] = static_cast<float>(first + second);
    negative_sum[g] = -(first + second);
    negative_half_sum[2 * g] = -first;
    negative_half_sum[2 * g + 1] = -second;
  }
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
