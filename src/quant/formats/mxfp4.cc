// MXFP4: blocks of 32 numbers in 17 bytes.
//   0  e   scale exponent
//   1  qs  16 bytes: low nibbles are elements 0–15, high nibbles elements 16–31
// value = 2^(e−128) · {0, 1, 2, 3, 4, 6, 8, 12, and the same negative}[q]: the magnitudes of E2M1
// doubled, so that the table is of integers. Exponents 0 and 1 make subnormal scales. Above 252
// the larger codes leave the range of f32, and 255 is NaN by definition: such blocks are bad.
#include "quant/block_fields.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kElements = 32;
constexpr int64_t kBytes = 17;
constexpr int kMaxExponent = 252;
constexpr float kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

float scale_of(uint32_t e) {
  return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kElements) {
    const float d = scale_of(src[0]);
    for (int j = 0; j < 16; ++j) {
      dst[j] = d * kValues[src[1 + j] & 15];
      dst[j + 16] = d * kValues[src[1 + j] >> 4];
    }
  }
}

// The code whose value is nearest, ties to the even code. `x` is in units of the scale.
uint8_t nearest_code(float x) {
  const float magnitude = std::fabs(x);
  // Borders between neighbours; at every second one the tie goes up, to the even code.
  const int code = (magnitude > 0.5f) + (magnitude >= 1.5f) + (magnitude > 2.5f) +
                   (magnitude >= 3.5f) + (magnitude > 5.0f) + (magnitude >= 7.0f) +
                   (magnitude > 10.0f);
  return static_cast<uint8_t>(code | (x < 0 && code != 0 ? 8 : 0));
}

double squared_error(const float* x, int e) {
  const double d = scale_of(e);
  double sum = 0;
  for (int64_t i = 0; i < kElements; ++i) {
    const double difference = x[i] - d * kValues[nearest_code(static_cast<float>(x[i] / d))];
    sum += difference * difference;
  }
  return sum;
}

// The exponent of least squared error among the two that bring the largest magnitude just below
// and just above the end of the table, and their neighbours.
int best_exponent(const float* x) {
  const float largest = std::fabs(signed_max(x, kElements));
  if (largest == 0.0f) return 0;
  int power;
  std::frexp(largest, &power);  // largest < 2^power; the end of the table, 12, lies below 2^4
  int best = 0;
  double best_error = 0;
  for (int step = -1; step <= 2; ++step) {
    const int e = std::clamp(power - 4 + step + 128, 0, kMaxExponent);
    const double error = squared_error(x, e);
    if (step == -1 || error < best_error) {
      best = e;
      best_error = error;
    }
  }
  return best;
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kElements, dst += kBytes) {
    const int e = best_exponent(src);
    const double d = scale_of(e);
    dst[0] = static_cast<uint8_t>(e);
    for (int j = 0; j < 16; ++j) {
      const uint8_t low = nearest_code(static_cast<float>(src[j] / d));
      const uint8_t high = nearest_code(static_cast<float>(src[j + 16] / d));
      dst[1 + j] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_block_where<kBytes>(
      src, num_blocks, [](const uint8_t* block) -> uint8_t { return block[0] > kMaxExponent; });
}

}  // namespace

extern const StorageFormat format_mxfp4;  // listed in the generated table
const StorageFormat format_mxfp4{
    .name = "MXFP4",
    .gguf_type = 39,
    .safetensors = "",
    .block_elements = kElements,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
