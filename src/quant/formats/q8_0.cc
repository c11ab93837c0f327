// Q8_0: blocks of 32 numbers in 34 bytes.
//   0  d   f16
//   2  qs  32 signed bytes
// value = d · q
#include "quant/block_fields.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kElements = 32;
constexpr int64_t kBytes = 34;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kElements) {
    const float d = load_f16(src);
    for (int j = 0; j < 32; ++j) dst[j] = d * static_cast<float>(static_cast<int8_t>(src[2 + j]));
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kElements, dst += kBytes) {
    const float magnitude = std::fabs(signed_max(src, kElements));
    const float inverse = inverse_or_zero(store_f16(dst, magnitude / 127.0f));
    for (int j = 0; j < 32; ++j) {
      dst[2 + j] = static_cast<uint8_t>(nearest_in(src[j] * inverse, -127, 127));
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_q8_0;  // listed in the generated table
const StorageFormat format_q8_0{
    .name = "Q8_0",
    .gguf_type = 8,
    .safetensors = "",
    .block_elements = kElements,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
