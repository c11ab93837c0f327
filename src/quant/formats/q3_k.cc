// Q3_K: super-blocks of 256 numbers, 16 sub-blocks of 16, in 110 bytes.
//     0  hmask   32 bytes: bit p of byte l belongs to number 32p + l
//    32  qs      64 bytes: 128 numbers in each 32 bytes; number 32p + l of those has its low two
//                bits in bits 2p, 2p+1 of byte l
//    96  scales  12 bytes: the low nibbles of bytes 0–7 are the low four bits of scales 0–7, the
//                high nibbles those of scales 8–15; bits 2p, 2p+1 of byte 8+i are the high two bits
//                of scale 4p + i
//   108  d       f16
// value = d · (scale − 32) · (q − 4), with q of three bits: hmask over qs
#include "quant/storage_format.h"
#include "quant/super_block.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 110;

void unpack_scales(const uint8_t* p, int8_t* scale) {
  for (int i = 0; i < 8; ++i) {
    scale[i] = static_cast<int8_t>(((p[i] & 15) | (p[8 + i % 4] >> (i / 4 * 2) & 3) << 4) - 32);
    scale[i + 8] =
        static_cast<int8_t>((p[i] >> 4 | (p[8 + i % 4] >> (i / 4 * 2 + 4) & 3) << 4) - 32);
  }
}

void pack_scales(const int8_t* scale, uint8_t* p) {
  std::memset(p, 0, 12);
  for (int i = 0; i < 16; ++i) {
    const int code = scale[i] + 32;
    p[i % 8] = static_cast<uint8_t>(p[i % 8] | (code & 15) << (i / 8 * 4));
    p[8 + i % 4] = static_cast<uint8_t>(p[8 + i % 4] | code >> 4 << (i / 4 * 2));
  }
}

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src + 108);
    int8_t scales[16];
    unpack_scales(src + 96, scales);
    for (int s = 0; s < 16; ++s) {
      const uint8_t* low = src + 32 + s / 8 * 32 + s % 2 * 16;
      const uint8_t* high = src + s % 2 * 16;
      const int shift = s % 8 / 2 * 2;
      const int high_shift = s / 2;
      const float scale = d * static_cast<float>(scales[s]);
      for (int l = 0; l < 16; ++l) {
        const int q = (low[l] >> shift & 3) | (high[l] >> high_shift & 1) << 2;
        dst[16 * s + l] = scale * static_cast<float>(q - 4);
      }
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const auto block = encode_on_grid<LinearGrid<-4, 3>>(src, 16, 0.3f, -32, 31);
    for (int l = 0; l < 32; ++l) {
      int mask = 0;
      for (int p = 0; p < 8; ++p) mask |= block.q[32 * p + l] >> 2 << p;
      dst[l] = static_cast<uint8_t>(mask);
    }
    for (int i = 0; i < 64; ++i) {
      const uint8_t* q = block.q.data() + i / 32 * 128 + i % 32;
      dst[32 + i] =
          static_cast<uint8_t>((q[0] & 3) | (q[32] & 3) << 2 | (q[64] & 3) << 4 | (q[96] & 3) << 6);
    }
    pack_scales(block.scale.data(), dst + 96);
    store_f16(dst + 108, block.d);
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 108>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_q3_k;  // listed in the generated table
const StorageFormat format_q3_k{
    .name = "Q3_K",
    .gguf_type = 11,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
