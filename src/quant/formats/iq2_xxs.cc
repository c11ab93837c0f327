// IQ2_XXS: super-blocks of 256 numbers, 8 sub-blocks of 32, in 66 bytes.
//   0  d     f16
//   2  subs  8 bytes each: the words of 8 elements each in bytes 0–3, then a u32: bits 7w … 7w+6
//            are the signs of word w (kEvenSigns), bits 28–31 the scale
// value = ± d · (2 · scale + 1) / 8 · word[j]
#include "quant/codebook_encoder.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 66;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src) * 0.125f;
    for (int s = 0; s < 8; ++s) {
      const uint8_t* sub = src + 2 + 8 * s;
      const uint32_t signs = load_u32(sub + 4);
      const float scale = d * static_cast<float>(2 * (signs >> 28) + 1);
      for (int w = 0; w < 4; ++w) {
        store_signed(dst + 32 * s + 8 * w, kIq2XxsWords[sub[w]], kEvenSigns[signs >> (7 * w) & 127],
                     scale);
      }
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  static const CodebookEncoder encoder(
      kIq2XxsWords, {.signs = WordSigns::kEven, .sub_size = 32, .max_code = 15, .unit = 0.125f});
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const CodebookBlock block = encoder.encode(src);
    store_f16(dst, block.d);
    for (int s = 0; s < 8; ++s) {
      uint32_t signs = static_cast<uint32_t>(block.scale[s]) << 28;
      for (int w = 0; w < 4; ++w) {
        dst[2 + 8 * s + w] = static_cast<uint8_t>(block.word[4 * s + w]);
        signs |= (block.signs[4 * s + w] & 127u) << (7 * w);
      }
      std::memcpy(dst + 6 + 8 * s, &signs, sizeof signs);
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_iq2_xxs;  // listed in the generated table
const StorageFormat format_iq2_xxs{
    .name = "IQ2_XXS",
    .gguf_type = 16,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
