// Q2_K: super-blocks of 256 numbers, 16 sub-blocks of 16, in 84 bytes.
//    0  sc    16 bytes, one per sub-block: low nibble scale, high nibble minimum
//   16  qs    64 bytes: 128 numbers in each 32 bytes; number 32p + l of those is bits 2p, 2p+1 of
//             byte l
//   80  d     f16
//   82  dmin  f16
// value = d · scale · q − dmin · minimum
#include "quant/storage_format.h"
#include "quant/super_block.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 84;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src + 80);
    const float dmin = load_f16(src + 82);
    for (int s = 0; s < 16; ++s) {
      const uint8_t* q = src + 16 + s / 8 * 32 + s % 2 * 16;
      const int shift = s % 8 / 2 * 2;
      const float scale = d * static_cast<float>(src[s] & 15);
      const float minimum = dmin * static_cast<float>(src[s] >> 4);
      for (int l = 0; l < 16; ++l) {
        dst[16 * s + l] = scale * static_cast<float>(q[l] >> shift & 3) - minimum;
      }
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const AffineSuperBlock block = encode_affine(src, 16, 3, 15);
    for (int s = 0; s < 16; ++s) {
      dst[s] = static_cast<uint8_t>(block.scale[s] | block.minimum[s] << 4);
    }
    for (int i = 0; i < 64; ++i) {
      const uint8_t* q = block.q.data() + i / 32 * 128 + i % 32;
      dst[16 + i] = static_cast<uint8_t>(q[0] | q[32] << 2 | q[64] << 4 | q[96] << 6);
    }
    store_f16(dst + 80, block.d);
    store_f16(dst + 82, block.dmin);
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 80, 82>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_q2_k;  // listed in the generated table
const StorageFormat format_q2_k{
    .name = "Q2_K",
    .gguf_type = 10,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
