// IQ3_XXS: super-blocks of 256 numbers, 8 sub-blocks of 32, in 98 bytes.
//    0  d      f16
//    2  words  64 bytes, each a word of 4 elements
//   66  signs  a u32 per sub-block: bits 7g … 7g+6 are the signs of its g-th 8 elements
//              (kEvenSigns), bits 28–31 the scale
// value = ± d · (2 · scale + 1) / 4 · word[j]
#include "quant/codebook_encoder.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 98;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src) * 0.25f;
    for (int s = 0; s < 8; ++s) {
      const uint32_t packed = load_u32(src + 66 + 4 * s);
      const float scale = d * static_cast<float>(2 * (packed >> 28) + 1);
      for (int g = 0; g < 4; ++g) {
        const uint8_t* words = src + 2 + 8 * s + 2 * g;
        const uint32_t signs = kEvenSigns[packed >> (7 * g) & 127];
        store_signed(dst + 32 * s + 8 * g, kIq3XxsWords[words[0]], signs, scale);
        store_signed(dst + 32 * s + 8 * g + 4, kIq3XxsWords[words[1]], signs >> 4, scale);
      }
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  static const CodebookEncoder encoder(
      kIq3XxsWords, {.signs = WordSigns::kEven, .sub_size = 32, .max_code = 15, .unit = 0.25f});
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const CodebookBlock block = encoder.encode(src);
    store_f16(dst, block.d);
    for (int i = 0; i < 64; ++i) dst[2 + i] = static_cast<uint8_t>(block.word[i]);
    for (int s = 0; s < 8; ++s) {
      uint32_t packed = static_cast<uint32_t>(block.scale[s]) << 28;
      for (int g = 0; g < 4; ++g) packed |= (block.signs[4 * s + g] & 127u) << (7 * g);
      std::memcpy(dst + 66 + 4 * s, &packed, sizeof packed);
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_iq3_xxs;  // listed in the generated table
const StorageFormat format_iq3_xxs{
    .name = "IQ3_XXS",
    .gguf_type = 18,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
