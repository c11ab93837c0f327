// IQ1_S: super-blocks of 256 numbers, 8 sub-blocks of 32, in 50 bytes.
//    0  d      f16
//    2  words  32 bytes: the low 8 bits of the word of 8 elements
//   34  high   a u16 per sub-block: bits 3w … 3w+2 are the high three bits of its w-th word,
//              bits 12–14 the scale, bit 15 the sign of the shift
// value = d · (2 · scale + 1) · (word[j] ± 1/8)
#include "quant/codebook_encoder.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 50;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src);
    for (int s = 0; s < 8; ++s) {
      const uint32_t high = load_u16(src + 34 + 2 * s);
      const float scale = d * static_cast<float>(2 * (high >> 12 & 7) + 1);
      const float shift = (high & 0x8000) != 0 ? -0.125f : 0.125f;
      for (int w = 0; w < 4; ++w) {
        const auto& word = kIq1Words[src[2 + 4 * s + w] | (high >> (3 * w) & 7) << 8];
        store_shifted(dst + 32 * s + 8 * w, word, shift, scale);
      }
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  static const CodebookEncoder encoder(
      kIq1Words, {.signs = WordSigns::kShiftOfSub, .sub_size = 32, .max_code = 7, .unit = 1});
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const CodebookBlock block = encoder.encode(src);
    store_f16(dst, block.d);
    for (int s = 0; s < 8; ++s) {
      int high = block.scale[s] << 12 | (block.minus[4 * s] ? 0x8000 : 0);
      for (int w = 0; w < 4; ++w) {
        dst[2 + 4 * s + w] = static_cast<uint8_t>(block.word[4 * s + w]);
        high |= block.word[4 * s + w] >> 8 << (3 * w);
      }
      store_u16(dst + 34 + 2 * s, static_cast<uint16_t>(high));
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_iq1_s;  // listed in the generated table
const StorageFormat format_iq1_s{
    .name = "IQ1_S",
    .gguf_type = 19,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
