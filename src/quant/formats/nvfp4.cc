// NVFP4: blocks of 64 numbers, 4 sub-blocks of 16, in 36 bytes.
//   0  scales  4 bytes, E4M3 without a sign: 4 bits of exponent (bias 7), 3 of mantissa
//   4  qs      8 bytes per sub-block: low nibbles are its elements 0–7, high nibbles 8–15
// value = scale · {0, 1/2, 1, 3/2, 2, 3, 4, 6, and the same negative}[q], E2M1. The scale 0x7f is
// NaN, and a scale with the sign bit is no scale: such blocks are bad. Scales reach from 2^−9 to
// 448 only; files bring smaller weights into that range by one more factor per matrix.
#include "quant/block_fields.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kElements = 64;
constexpr int64_t kSub = 16;
constexpr int64_t kBytes = 36;
constexpr int kMaxScale = 0x7e;
// Doubled, so that the table is of integers; the scale is halved instead.
constexpr float kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Half of the scale of a code. The code's bits are moved into a half, whose exponent bias is 8
// more; beyond the codes of scales is NaN.
float half_scale_of(uint32_t code) {
  const uint16_t bits = static_cast<uint16_t>(code > kMaxScale ? 0x7e00 : code << 7);
  return f16_to_f32(bits) * 128.0f;
}

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kElements) {
    for (int s = 0; s < 4; ++s) {
      const float d = half_scale_of(src[s]);
      const uint8_t* q = src + 4 + 8 * s;
      for (int j = 0; j < 8; ++j) {
        dst[16 * s + j] = d * kValues[q[j] & 15];
        dst[16 * s + 8 + j] = d * kValues[q[j] >> 4];
      }
    }
  }
}

// The code whose value is nearest, ties to the even code. `x` is in units of the halved scale.
uint8_t nearest_code(float x) {
  const float magnitude = std::fabs(x);
  const int code = (magnitude > 0.5f) + (magnitude >= 1.5f) + (magnitude > 2.5f) +
                   (magnitude >= 3.5f) + (magnitude > 5.0f) + (magnitude >= 7.0f) +
                   (magnitude > 10.0f);
  return static_cast<uint8_t>(code | (x < 0 && code != 0 ? 8 : 0));
}

// The largest scale code whose value is not above `scale`.
int scale_code_below(double scale) {
  int low = 0;
  for (int step = 64; step > 0; step /= 2) {
    const int code = low + step;
    if (code <= kMaxScale && 2.0 * half_scale_of(static_cast<uint32_t>(code)) <= scale) low = code;
  }
  return low;
}

double squared_error(const float* x, int code) {
  const double d = half_scale_of(static_cast<uint32_t>(code));
  double sum = 0;
  for (int64_t i = 0; i < kSub; ++i) {
    const uint8_t q = d == 0 ? 0 : nearest_code(static_cast<float>(x[i] / d));
    const double difference = x[i] - d * kValues[q];
    sum += difference * difference;
  }
  return sum;
}

// The scale of least squared error from the one that brings the largest magnitude to 6 up to the
// one that brings it to 4, and a few below.
int best_scale_code(const float* x) {
  const double largest = std::fabs(signed_max(x, kSub));
  if (largest == 0) return 0;
  int best = 0;
  double best_error = squared_error(x, 0);
  const int first = std::max(1, scale_code_below(largest / 6) - 3);
  const int last = std::min(kMaxScale, scale_code_below(largest / 4) + 1);
  for (int code = first; code <= last; ++code) {
    const double error = squared_error(x, code);
    if (error >= best_error) continue;
    best = code;
    best_error = error;
  }
  return best;
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kElements, dst += kBytes) {
    for (int s = 0; s < 4; ++s) {
      const float* x = src + kSub * s;
      const int code = best_scale_code(x);
      const double d = half_scale_of(static_cast<uint32_t>(code));
      dst[s] = static_cast<uint8_t>(code);
      for (int j = 0; j < 8; ++j) {
        const uint8_t low = d == 0 ? 0 : nearest_code(static_cast<float>(x[j] / d));
        const uint8_t high = d == 0 ? 0 : nearest_code(static_cast<float>(x[j + 8] / d));
        dst[4 + 8 * s + j] = static_cast<uint8_t>(low | high << 4);
      }
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  // Above 0x7e when its sign bit is set, or is set by adding one to the lower seven.
  return first_block_where<kBytes>(src, num_blocks, [](const uint8_t* block) -> uint32_t {
    const uint32_t scales = load_u32(block);
    return (scales | ((scales & 0x7f7f7f7fu) + 0x01010101u)) & 0x80808080u;
  });
}

}  // namespace

extern const StorageFormat format_nvfp4;  // listed in the generated table
const StorageFormat format_nvfp4{
    .name = "NVFP4",
    .gguf_type = 40,
    .safetensors = "",
    .block_elements = kElements,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
