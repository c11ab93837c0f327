// IQ2_S: super-blocks of 256 numbers, 16 sub-blocks of 16, in 82 bytes.
//    0  d       f16
//    2  words   32 bytes: the low 8 bits of the word of 8 elements
//   34  signs   32 bytes: bit j of byte w negates element 8w + j
//   66  high    8 bytes: bits 2k, 2k+1 of byte i are the high two bits of word 4i + k
//   74  scales  8 bytes: low nibble of byte s/2 for even s, high nibble for odd s
// value = ± d · (2 · scale + 1) / 8 · word[j]
#include "quant/codebook_encoder.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 82;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src) * 0.125f;
    for (int w = 0; w < 32; ++w) {
      const int word = src[2 + w] | (src[66 + w / 4] >> (w % 4 * 2) & 3) << 8;
      const int code = src[74 + w / 4] >> (w % 4 / 2 * 4) & 15;
      store_signed(dst + 8 * w, kIq2SWords[word], src[34 + w],
                   d * static_cast<float>(2 * code + 1));
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  static const CodebookEncoder encoder(
      kIq2SWords, {.signs = WordSigns::kFree, .sub_size = 16, .max_code = 15, .unit = 0.125f});
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const CodebookBlock block = encoder.encode(src);
    store_f16(dst, block.d);
    std::memset(dst + 66, 0, 8);
    for (int w = 0; w < 32; ++w) {
      dst[2 + w] = static_cast<uint8_t>(block.word[w]);
      dst[34 + w] = block.signs[w];
      dst[66 + w / 4] = static_cast<uint8_t>(dst[66 + w / 4] | block.word[w] >> 8 << (w % 4 * 2));
    }
    for (int i = 0; i < 8; ++i) {
      dst[74 + i] = static_cast<uint8_t>(block.scale[2 * i] | block.scale[2 * i + 1] << 4);
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_iq2_s;  // listed in the generated table
const StorageFormat format_iq2_s{
    .name = "IQ2_S",
    .gguf_type = 22,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
