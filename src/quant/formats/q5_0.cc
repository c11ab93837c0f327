// Q5_0: blocks of 32 numbers in 22 bytes.
//   0  d   f16
//   2  qh  4 bytes: bit j is bit 4 of element j
//   6  qs  16 bytes: low nibbles are elements 0–15, high nibbles elements 16–31
// value = d · (q − 16)
#include "quant/block_fields.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kElements = 32;
constexpr int64_t kBytes = 22;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kElements) {
    const float d = load_f16(src);
    uint8_t high_bit[32];
    spread_32_bits(src + 2, high_bit);
    for (int j = 0; j < 16; ++j) {
      dst[j] = d * static_cast<float>(((src[6 + j] & 15) | high_bit[j] << 4) - 16);
      dst[j + 16] = d * static_cast<float>((src[6 + j] >> 4 | high_bit[j + 16] << 4) - 16);
    }
  }
}

// The number of largest magnitude becomes −16, the end of the range that has no mirror image.
void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kElements, dst += kBytes) {
    const float inverse = inverse_or_zero(store_f16(dst, signed_max(src, kElements) / -16.0f));
    uint32_t high_bits = 0;
    for (int j = 0; j < 16; ++j) {
      const uint32_t low = nearest_in(src[j] * inverse, -16, 15) + 16;
      const uint32_t high = nearest_in(src[j + 16] * inverse, -16, 15) + 16;
      dst[6 + j] = static_cast<uint8_t>((low & 15) | (high & 15) << 4);
      high_bits |= low >> 4 << j | high >> 4 << (j + 16);
    }
    std::memcpy(dst + 2, &high_bits, sizeof high_bits);
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_q5_0;  // listed in the generated table
const StorageFormat format_q5_0{
    .name = "Q5_0",
    .gguf_type = 6,
    .safetensors = "",
    .block_elements = kElements,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
