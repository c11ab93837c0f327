// BF16: the upper half of an IEEE single, little endian. Encoding rounds to nearest even and
// saturates at the largest finite value, so that finite stays finite.
#include "quant/block_fields.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr float kMax = 0x1.fep127f;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = bf16_to_f32(load_u16(src + 2 * i));
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    store_u16(dst + 2 * i, f32_to_bf16(std::clamp(src[i], -kMax, kMax)));
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t n) {
  return first_block_where<2>(
      src, n, [](const uint8_t* p) -> uint16_t { return (load_u16(p) & 0x7f80) == 0x7f80; });
}

}  // namespace

extern const StorageFormat format_bf16;  // listed in the generated table
const StorageFormat format_bf16{
    .name = "BF16",
    .gguf_type = 30,
    .safetensors = "BF16",
    .block_elements = 1,
    .block_bytes = 2,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
