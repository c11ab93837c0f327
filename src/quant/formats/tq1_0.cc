// TQ1_0: blocks of 256 numbers of three values in 54 bytes.
//    0  qs  48 bytes of five digits each: 160 numbers in the first 32, number 32p + l as digit p of
//           byte l; 80 in the next 16, number 160 + 16p + l as digit p of byte 32 + l
//   48  qh  4 bytes of four digits: number 240 + 4p + l as digit p of byte 48 + l
//   52  d   f16
// value = d · (q − 1). A byte is a fraction of 256 in base 3, rounded up: multiplied by 3^p, its
// lower eight bits hold the digits from p on, and three times those, over 256, is digit p.
#include "quant/storage_format.h"
#include "quant/super_block.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 54;
constexpr uint32_t kPowers[5] = {1, 3, 9, 27, 81};

// `count` bytes of `digits` digits each, digit by digit.
void decode_digits(const uint8_t* src, int count, int digits, float d, float* dst) {
  for (int p = 0; p < digits; ++p) {
    for (int l = 0; l < count; ++l) {
      const uint32_t rest = src[l] * kPowers[p] & 255;
      dst[count * p + l] = d * static_cast<float>(static_cast<int32_t>(rest * 3 >> 8) - 1);
    }
  }
}

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src + 52);
    decode_digits(src, 32, 5, d, dst);
    decode_digits(src + 32, 16, 5, d, dst + 160);
    decode_digits(src + 48, 4, 4, d, dst + 240);
  }
}

void encode_digits(const float* x, int count, int digits, float inverse, uint8_t* dst) {
  for (int l = 0; l < count; ++l) {
    uint32_t number = 0;  // of five digits; those that are not there are 0
    for (int p = 0; p < 5; ++p) {
      const int32_t digit = p < digits ? nearest_in(x[count * p + l] * inverse, -1, 1) + 1 : 0;
      number = 3 * number + static_cast<uint32_t>(digit);
    }
    dst[l] = static_cast<uint8_t>((number * 256 + 242) / 243);
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const float inverse = inverse_or_zero(store_f16(dst + 52, fit_ternary(src)));
    encode_digits(src, 32, 5, inverse, dst);
    encode_digits(src + 160, 16, 5, inverse, dst + 32);
    encode_digits(src + 240, 4, 4, inverse, dst + 48);
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 52>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_tq1_0;  // listed in the generated table
const StorageFormat format_tq1_0{
    .name = "TQ1_0",
    .gguf_type = 34,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
