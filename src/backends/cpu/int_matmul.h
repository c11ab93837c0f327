// The integer matmul of every format (include a vec_*.h and its bytes_*.h first). For each panel of
// columns and each kLanes rows: unpack once, then go along all tokens of the block.
//
//            tokens →  x_0 … x_7        one tile: 8 vectors of weights × kTokens tokens
//   rows  w_0 │ 4 neighbours │           sum[t] += w_j · x_t[4j .. 4j+3], lanes = rows
//    ↓    w_1 │ of each row  │           once a group: acc[t] = s_t (sum d) + acc[t]
//
// Per 512 weights and token (AVX-512): 8 dot products, and 4 float operations for the scales. Two
// dot products a cycle make that 128 multiply-adds a cycle at most, four times those of f32.
#pragma once

#include "backends/cpu/int_unpack.h"
#include "backends/cpu/kernels.h"

namespace ferry::cpu::FERRY_ISA {
namespace {

constexpr int64_t kPanel = 512;  // columns: with 8 tokens' x, a quarter of a 48 KB cache
static_assert(kLanes * kPanel / 4 <= 2048 && kLanes * kPanel / 16 <= 512);
static_assert(kMaxBlockRows * kMaxBlockTokens <= 32 * 96);

inline void quantize_row(const float* x, int64_t cols, void* data) {
  auto* q = static_cast<int8_t*>(data);
  float* scale = static_cast<float*>(static_cast<void*>(q + cols));
  const int64_t groups = cols / kQuantGroup;
  float* sum = scale + groups;
  float* half_sum = sum + groups;
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
    half_sum[2 * g] = static_cast<float>(first);
    half_sum[2 * g + 1] = static_cast<float>(second);
    sum[g] = static_cast<float>(first + second);
  }
}

// One group after its dot product.
template <typename Format>
inline Vec add_group(Ints dot, Vec d, Vec low, float scale, float sum, Vec acc) {
  constexpr int kOffset = Format::kOffset - Dot<Format::kBits>::kBias;
  Vec t = i_to_floats(dot);
  if constexpr (Format::kMinimum) {
    t = vfma(t, d, vmul(low, vset(sum)));
  } else {
    if constexpr (kOffset != 0) t = vfma(vset(-static_cast<float>(kOffset)), vset(sum), t);
    t = vmul(t, d);
  }
  return vfma(vset(scale), t, acc);
}

// T tokens × kLanes rows × `groups` groups of 32 columns, the first of which is number `first`.
template <typename Format, int T>
inline void int_tile(const Panel& panel, int64_t first, int64_t groups, const QuantRow* x,
                     float* acc) {
  constexpr int kHalves = kQuantGroup / Format::kGroup;
  constexpr int kSteps = 8 / kHalves;
  Vec sums[T];
  const int8_t* q[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
    sums[t] = first == 0 ? vzero() : vload(acc + t * kLanes);
    q[t] = x[t].q + first * kQuantGroup;
  }
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* weights = panel.q + g * 8 * kVectorBytes;
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      Dot<Format::kBits> dots[T];
#pragma GCC unroll 8
      for (int j = 0; j < kSteps; ++j) {
        const Bytes w = b_load(weights + (half * kSteps + j) * kVectorBytes);
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
          dots[t].add(w, q[t] + g * kQuantGroup + 4 * (half * kSteps + j));
        }
        if (j % 2 == 1) {
#pragma GCC unroll 8
          for (int t = 0; t < T; ++t) dots[t].flush(j + 1);
        }
      }
      const int64_t index = g * kHalves + half;
      const Vec d = vload(panel.scale + index * kLanes);
      const Vec low = Format::kMinimum ? vload(panel.low + index * kLanes) : vzero();
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        const int64_t at = first + g;
        const float sum = kHalves == 1 ? x[t].sum[at] : x[t].half_sum[2 * at + half];
        sums[t] = add_group<Format>(dots[t].total(), d, low, x[t].scale[at], sum, sums[t]);
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) vstore(acc + t * kLanes, sums[t]);
}

template <typename Format>
inline void int_tiles(const Panel& panel, int64_t first, int64_t groups, const QuantRow* x,
                      int64_t tokens, float* acc) {
  int64_t t = 0;
  for (; t + kTokens <= tokens; t += kTokens) {
    int_tile<Format, kTokens>(panel, first, groups, x + t, acc + t * kLanes);
  }
  if (kTokens > 4 && t + 4 <= tokens) {
    int_tile<Format, 4>(panel, first, groups, x + t, acc + t * kLanes);
    t += 4;
  }
  if (t + 2 <= tokens) {
    int_tile<Format, 2>(panel, first, groups, x + t, acc + t * kLanes);
    t += 2;
  }
  if (t < tokens) int_tile<Format, 1>(panel, first, groups, x + t, acc + t * kLanes);
}

inline void store_rows(const float* acc, int64_t rows, const float* bias, float* out) {
  if (rows == kLanes) {
    const Vec sums = vload(acc);
    vstore(out, bias == nullptr ? sums : vadd(sums, vload(bias)));
    return;
  }
  for (int64_t r = 0; r < rows; ++r) out[r] = bias == nullptr ? acc[r] : acc[r] + bias[r];
}

// `next` is where the following kLanes rows begin. They are asked for line by line, as many bytes
// with each block as the block has: all at once would fill the few buffers for lines on their way,
// and the loads of this block would have to queue behind them.
template <typename Format>
inline void unpack_panel(Rows rows, int64_t first_block, int64_t blocks, const uint8_t* next,
                         const Panel& panel) {
  constexpr int kGroups = Format::kElements / Format::kGroup;
  constexpr int kBytes = Format::kElements * kLanes;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t offset = (first_block + b) * Format::kBytes;
    const int64_t end = (offset + Format::kBytes) * kLanes;
    for (int64_t i = offset * kLanes / 64 * 64; i < end; i += 64) {
      __builtin_prefetch(next + i, 0, 2);
    }
    Format::unpack(rows, offset,
                   {panel.q + b * kBytes, panel.scale + b * kGroups * kLanes,
                    panel.low + b * kGroups * kLanes});
  }
}

template <typename Format>
void int_matmul_block(const IntMatmulBlock& block) {
  constexpr int64_t kPanelBlocks = kPanel / Format::kElements;
  float* acc = block.scratch;
  float* weights = acc + kMaxBlockRows * kMaxBlockTokens;
  const Panel panel{static_cast<uint8_t*>(static_cast<void*>(weights)), weights + 2048,
                    weights + 2048 + 512};
  const int64_t blocks = block.cols / Format::kElements;
  for (int64_t row = 0; row < block.rows; row += kLanes) {
    const int64_t count = block.rows - row < kLanes ? block.rows - row : kLanes;
    const uint8_t* rows[kLanes];
    const uint8_t* const next = block.data + (row + kLanes) * block.row_bytes;
    for (int64_t r = 0; r < kLanes; ++r) {  // ragged: the last row again
      rows[r] = block.data + (row + (r < count ? r : count - 1)) * block.row_bytes;
    }
    for (int64_t b = 0; b < blocks; b += kPanelBlocks) {
      const int64_t here = blocks - b < kPanelBlocks ? blocks - b : kPanelBlocks;
      unpack_panel<Format>(rows, b, here, next, panel);
      int_tiles<Format>(panel, b * Format::kElements / kQuantGroup,
                        here * Format::kElements / kQuantGroup, block.x, block.tokens, acc);
    }
    for (int64_t t = 0; t < block.tokens; ++t) {
      store_rows(acc + t * kLanes, count, block.bias == nullptr ? nullptr : block.bias + row,
                 block.out + t * block.out_stride + row);
    }
  }
}

template <typename Format>
constexpr IntFormat int_format() {
  return {Format::kName, int_matmul_block<Format>};
}
constexpr IntFormat kIntFormats[] = {
    int_format<Q4_0>(),  int_format<Q4_1>(),  int_format<Q5_0>(),  int_format<Q5_1>(),
    int_format<Q8_0>(),  int_format<Q4_K>(),  int_format<Q5_K>(),  int_format<Q6_K>(),
    int_format<Iq4Nl>(), int_format<Iq4Xs>(), int_format<Mxfp4>(),
};

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
