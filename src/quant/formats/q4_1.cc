// Q4_1: blocks of 32 numbers in 20 bytes.
//   0  d   f16
//   2  m   f16
//   4  qs  16 bytes: low nibbles are elements 0–15, high nibbles elements 16–31
// value = d · q + m
#include "quant/block_fields.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kElements = 32;
constexpr int64_t kBytes = 20;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kElements) {
    const float d = load_f16(src);
    const float m = load_f16(src + 2);
    for (int j = 0; j < 16; ++j) {
      dst[j] = d * static_cast<float>(src[4 + j] & 15) + m;
      dst[j + 16] = d * static_cast<float>(src[4 + j] >> 4) + m;
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kElements, dst += kBytes) {
    const auto [low_end, high_end] = std::minmax_element(src, src + kElements);
    const float inverse = inverse_or_zero(store_f16(dst, *high_end / 15.0f - *low_end / 15.0f));
    const float m = store_f16(dst + 2, *low_end);
    for (int j = 0; j < 16; ++j) {
      const int32_t low = nearest_in((src[j] - m) * inverse, 0, 15);
      const int32_t high = nearest_in((src[j + 16] - m) * inverse, 0, 15);
      dst[4 + j] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0, 2>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_q4_1;  // listed in the generated table
const StorageFormat format_q4_1{
    .name = "Q4_1",
    .gguf_type = 3,
    .safetensors = "",
    .block_elements = kElements,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
