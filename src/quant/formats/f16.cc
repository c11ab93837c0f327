// F16: one IEEE half, little endian. Encoding saturates at ±65504, so that finite stays finite.
#include "quant/block_fields.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = f16_to_f32(load_u16(src + 2 * i));
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    store_u16(dst + 2 * i, f32_to_f16(std::clamp(src[i], -kF16Max, kF16Max)));
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t n) { return first_bad_f16_scale<2, 0>(src, n); }

}  // namespace

extern const StorageFormat format_f16;  // listed in the generated table
const StorageFormat format_f16{
    .name = "F16",
    .gguf_type = 1,
    .safetensors = "F16",
    .block_elements = 1,
    .block_bytes = 2,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
