// IQ2_XS: super-blocks of 256 numbers, 16 sub-blocks of 16, in 74 bytes.
//    0  d       f16
//    2  words   32 u16: the word of 8 elements in bits 0–8, their signs (kEvenSigns) in bits 9–15
//   66  scales  8 bytes: low nibble of byte s/2 for even s, high nibble for odd s
// value = ± d · (2 · scale + 1) / 8 · word[j]
#include "quant/codebook_encoder.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 74;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src) * 0.125f;
    for (int w = 0; w < 32; ++w) {
      const uint32_t packed = load_u16(src + 2 + 2 * w);
      const int code = src[66 + w / 4] >> (w % 4 / 2 * 4) & 15;
      store_signed(dst + 8 * w, kIq2XsWords[packed & 511], kEvenSigns[packed >> 9],
                   d * static_cast<float>(2 * code + 1));
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  static const CodebookEncoder encoder(
      kIq2XsWords, {.signs = WordSigns::kEven, .sub_size = 16, .max_code = 15, .unit = 0.125f});
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const CodebookBlock block = encoder.encode(src);
    store_f16(dst, block.d);
    for (int w = 0; w < 32; ++w) {
      store_u16(dst + 2 + 2 * w,
                static_cast<uint16_t>(block.word[w] | (block.signs[w] & 127) << 9));
    }
    for (int i = 0; i < 8; ++i) {
      dst[66 + i] = static_cast<uint8_t>(block.scale[2 * i] | block.scale[2 * i + 1] << 4);
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_iq2_xs;  // listed in the generated table
const StorageFormat format_iq2_xs{
    .name = "IQ2_XS",
    .gguf_type = 17,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
