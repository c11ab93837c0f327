// F8_E8M0: a power of two, 2^(byte−127); 0xFF is NaN. The scales of microscaled checkpoints are
// stored this way. Byte 0 is 2^-127, a subnormal single; it is made from its bits, so that a thread
// that flushes denormals still reads it.
#include "quant/block_fields.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t code = src[i];
    const uint32_t power = code == 0 ? 0x00400000u : code << 23;
    dst[i] = std::bit_cast<float>(code == 0xff ? 0x7fc00000u : power);
  }
}

// To the nearest power of two on the number line (ties to the larger); what is not positive
// becomes the smallest. The carry out of a mantissa of one half and more moves the exponent; below
// 2^-126, where singles have no exponent left to move, the border is 0.75 · 2^-126.
void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const int32_t bits = std::bit_cast<int32_t>(src[i]);
    const uint32_t positive = static_cast<uint32_t>(std::max(bits, 0));
    const uint32_t exponent = std::min((positive + 0x400000u) >> 23, 254u);
    dst[i] = static_cast<uint8_t>(positive < 0x600000u ? 0 : exponent);
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t n) {
  return first_block_where<1>(src, n, [](const uint8_t* p) -> uint8_t { return *p == 0xff; });
}

}  // namespace

extern const StorageFormat format_f8_e8m0;  // listed in the generated table
const StorageFormat format_f8_e8m0{
    .name = "F8_E8M0",
    .gguf_type = -1,
    .safetensors = "F8_E8M0",
    .block_elements = 1,
    .block_bytes = 1,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
