// F8_E4M3, the "fn" variant: sign, 4 exponent bits (bias 7), 3 mantissa bits.
//   exponent 0: mantissa/8 · 2^-6; exponent 1..15: (1 + mantissa/8) · 2^(exponent−7)
// No infinities; 0x7F and 0xFF are NaN; the largest number is 448. The scales of FP8 checkpoints
// are tensors of their own: decode gives the number before scaling.
#include "quant/block_fields.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr float kMax = 448.0f;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t code = src[i];
    const uint32_t magnitude = code & 0x7f;
    const uint32_t is_subnormal = (magnitude - 8) >> 31;
    const uint32_t is_nan = (magnitude + 1) >> 7;
    // As in base/half.h: the bias goes from 7 to 127, and a subnormal is read as 2^-6 · (1 +
    // mantissa) and the 2^-6 subtracted again.
    const uint32_t bits = (magnitude << 20) + ((120 + is_subnormal) << 23);
    const uint32_t excess = (0u - is_subnormal) & std::bit_cast<uint32_t>(0x1p-6f);
    const float number = std::bit_cast<float>(bits) - std::bit_cast<float>(excess);
    const uint32_t nan = (0u - is_nan) & 0x7fc00000u;
    dst[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(number) | nan | (code & 0x80) << 24);
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t sign = std::bit_cast<uint32_t>(src[i]) >> 24 & 0x80;
    const float magnitude = std::min(std::fabs(src[i]), kMax);
    const uint32_t bits = std::bit_cast<uint32_t>(magnitude);
    // Below 2^-6 codes count steps of 2^-9: the addition to 2^14 leaves just those bits.
    const uint32_t subnormal =
        std::bit_cast<uint32_t>(magnitude + 0x1p14f) - std::bit_cast<uint32_t>(0x1p14f);
    const uint32_t normal = ((bits + 0x7ffffu + (bits >> 20 & 1)) >> 20) - (120u << 3);
    const uint32_t below = 0u - ((bits - std::bit_cast<uint32_t>(0x1p-6f)) >> 31);  // all ones: yes
    dst[i] = static_cast<uint8_t>(sign | (below & subnormal) | (~below & normal));
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t n) {
  return first_block_where<1>(src, n,
                              [](const uint8_t* p) -> uint8_t { return (*p & 0x7f) == 0x7f; });
}

}  // namespace

extern const StorageFormat format_f8_e4m3;  // listed in the generated table
const StorageFormat format_f8_e4m3{
    .name = "F8_E4M3",
    .gguf_type = -1,
    .safetensors = "F8_E4M3",
    .block_elements = 1,
    .block_bytes = 1,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
