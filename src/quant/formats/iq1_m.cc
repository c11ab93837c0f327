// IQ1_M: super-blocks of 256 numbers, 16 sub-blocks of 16, in 56 bytes.
//    0  words   32 bytes: the low 8 bits of the word of 8 elements
//   32  high    16 bytes: low nibble of byte w/2 for even words, high nibble for odd ones: three
//               high bits of the word, above them the sign of its shift
//   48  scales  four u16: bits 3k … 3k+2 of u16 i are scale 4i + k; bits 12–15 of the four, the
//               first lowest, are the bits of the half d
// value = d · (2 · scale + 1) · (word[j] ± 1/8)
#include "quant/codebook_encoder.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 56;

// The bits of the half d.
uint16_t load_d(const uint8_t* src) {
  return static_cast<uint16_t>(src[49] >> 4 | (src[51] & 0xf0) | (src[53] & 0xf0) << 4 |
                               (src[55] & 0xf0) << 8);
}

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = f16_to_f32(load_d(src));
    for (int w = 0; w < 32; ++w) {
      const int high = src[32 + w / 2] >> (w % 2 * 4) & 15;
      const int code = load_u16(src + 48 + w / 8 * 2) >> (w % 8 / 2 * 3) & 7;
      store_shifted(dst + 8 * w, kIq1Words[src[w] | (high & 7) << 8],
                    (high & 8) != 0 ? -0.125f : 0.125f, d * static_cast<float>(2 * code + 1));
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  static const CodebookEncoder encoder(
      kIq1Words, {.signs = WordSigns::kShiftOfWord, .sub_size = 16, .max_code = 7, .unit = 1});
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const CodebookBlock block = encoder.encode(src);
    std::memset(dst + 32, 0, 16);
    for (int w = 0; w < 32; ++w) {
      dst[w] = static_cast<uint8_t>(block.word[w]);
      const int high = block.word[w] >> 8 | (block.minus[w] ? 8 : 0);
      dst[32 + w / 2] = static_cast<uint8_t>(dst[32 + w / 2] | high << (w % 2 * 4));
    }
    const int d = f32_to_f16(block.d);
    for (int i = 0; i < 4; ++i) {
      int scales = (d >> (4 * i) & 15) << 12;
      for (int k = 0; k < 4; ++k) scales |= block.scale[4 * i + k] << (3 * k);
      store_u16(dst + 48 + 2 * i, static_cast<uint16_t>(scales));
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_block_where<kBytes>(src, num_blocks, [](const uint8_t* block) -> uint16_t {
    return (load_d(block) & 0x7c00) == 0x7c00;
  });
}

}  // namespace

extern const StorageFormat format_iq1_m;  // listed in the generated table
const StorageFormat format_iq1_m{
    .name = "IQ1_M",
    .gguf_type = 29,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
