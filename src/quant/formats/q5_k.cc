// Q5_K: super-blocks of 256 numbers, 8 sub-blocks of 32, in 176 bytes.
//    0  d       f16
//    2  dmin    f16
//    4  scales  12 bytes: eight 6-bit scales and minimums (super_block.h)
//   16  qh      32 bytes: bit s of byte l is bit 4 of number l of sub-block s
//   48  qs      128 bytes: of each 32 bytes the low nibbles are sub-block 2j, the high ones 2j+1
// value = d · scale · q − dmin · minimum
#include "quant/storage_format.h"
#include "quant/super_block.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 176;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src);
    const float dmin = load_f16(src + 2);
    uint8_t scales[8];
    uint8_t minimums[8];
    unpack_scales_6bit(src + 4, scales, minimums);
    const uint8_t* high = src + 16;
    for (int s = 0; s < 8; ++s) {
      const uint8_t* low = src + 48 + s / 2 * 32;
      const int shift = s % 2 * 4;
      const float scale = d * static_cast<float>(scales[s]);
      const float minimum = dmin * static_cast<float>(minimums[s]);
      for (int l = 0; l < 32; ++l) {
        const int q = (low[l] >> shift & 15) | (high[l] >> s & 1) << 4;
        dst[32 * s + l] = scale * static_cast<float>(q) - minimum;
      }
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const AffineSuperBlock block = encode_affine(src, 32, 31, 63);
    store_f16(dst, block.d);
    store_f16(dst + 2, block.dmin);
    pack_scales_6bit(block.scale.data(), block.minimum.data(), dst + 4);
    for (int l = 0; l < 32; ++l) {
      int high = 0;
      for (int s = 0; s < 8; ++s) high |= block.q[32 * s + l] >> 4 << s;
      dst[16 + l] = static_cast<uint8_t>(high);
    }
    for (int i = 0; i < 128; ++i) {
      const uint8_t* q = block.q.data() + i / 32 * 64 + i % 32;
      dst[48 + i] = static_cast<uint8_t>((q[0] & 15) | (q[32] & 15) << 4);
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0, 2>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_q5_k;  // listed in the generated table
const StorageFormat format_q5_k{
    .name = "Q5_K",
    .gguf_type = 13,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
