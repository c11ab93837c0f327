// Q5_1: blocks of 32 numbers in 24 bytes.
//   0  d   f16
//   2  m   f16
//   4  qh  4 bytes: bit j is bit 4 of element j
//   8  qs  16 bytes: low nibbles are elements 0–15, high nibbles elements 16–31
// value = d · q + m
#include "quant/block_fields.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kElements = 32;
constexpr int64_t kBytes = 24;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kElements) {
    const float d = load_f16(src);
    const float m = load_f16(src + 2);
    uint8_t high_bit[32];
    spread_32_bits(src + 4, high_bit);
    for (int j = 0; j < 16; ++j) {
      dst[j] = d * static_cast<float>((src[8 + j] & 15) | high_bit[j] << 4) + m;
      dst[j + 16] = d * static_cast<float>(src[8 + j] >> 4 | high_bit[j + 16] << 4) + m;
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kElements, dst += kBytes) {
    const auto [low_end, high_end] = std::minmax_element(src, src + kElements);
    const float inverse = inverse_or_zero(store_f16(dst, *high_end / 31.0f - *low_end / 31.0f));
    const float m = store_f16(dst + 2, *low_end);
    uint32_t high_bits = 0;
    for (int j = 0; j < 16; ++j) {
      const uint32_t low = nearest_in((src[j] - m) * inverse, 0, 31);
      const uint32_t high = nearest_in((src[j + 16] - m) * inverse, 0, 31);
      dst[8 + j] = static_cast<uint8_t>((low & 15) | (high & 15) << 4);
      high_bits |= low >> 4 << j | high >> 4 << (j + 16);
    }
    std::memcpy(dst + 4, &high_bits, sizeof high_bits);
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0, 2>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_q5_1;  // listed in the generated table
const StorageFormat format_q5_1{
    .name = "Q5_1",
    .gguf_type = 7,
    .safetensors = "",
    .block_elements = kElements,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
