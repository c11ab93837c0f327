// IQ3_S: super-blocks of 256 numbers, 8 sub-blocks of 32, in 110 bytes.
//     0  d       f16
//     2  words   64 bytes: the low 8 bits of the word of 4 elements
//    66  high    8 bytes: bit k of byte s is the high bit of word 8s + k
//    74  signs   32 bytes: bit j of byte g negates element 8g + j
//   106  scales  4 bytes: low nibble of byte s/2 for even s, high nibble for odd s
// value = ± d · (2 · scale + 1) · word[j]
#include "quant/codebook_encoder.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 110;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src);
    for (int w = 0; w < 64; ++w) {
      const int word = src[2 + w] | (src[66 + w / 8] >> (w % 8) & 1) << 8;
      const int code = src[106 + w / 16] >> (w % 16 / 8 * 4) & 15;
      store_signed(dst + 4 * w, kIq3SWords[word], src[74 + w / 2] >> (w % 2 * 4),
                   d * static_cast<float>(2 * code + 1));
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  static const CodebookEncoder encoder(
      kIq3SWords, {.signs = WordSigns::kFree, .sub_size = 32, .max_code = 15, .unit = 1});
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const CodebookBlock block = encoder.encode(src);
    store_f16(dst, block.d);
    std::memset(dst + 66, 0, 8);
    for (int w = 0; w < 64; ++w) {
      dst[2 + w] = static_cast<uint8_t>(block.word[w]);
      dst[66 + w / 8] = static_cast<uint8_t>(dst[66 + w / 8] | block.word[w] >> 8 << (w % 8));
    }
    for (int g = 0; g < 32; ++g) dst[74 + g] = block.signs[g];
    for (int i = 0; i < 4; ++i) {
      dst[106 + i] = static_cast<uint8_t>(block.scale[2 * i] | block.scale[2 * i + 1] << 4);
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_iq3_s;  // listed in the generated table
const StorageFormat format_iq3_s{
    .name = "IQ3_S",
    .gguf_type = 21,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
