// TQ2_0: blocks of 256 numbers of three values in 66 bytes.
//    0  qs  64 bytes: 128 numbers in each 32 bytes; number 32p + l of those in bits 2p, 2p+1 of
//           byte l
//   64  d   f16
// value = d · (q − 1)
#include "quant/storage_format.h"
#include "quant/super_block.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 66;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src + 64);
    for (int s = 0; s < 8; ++s) {
      const uint8_t* q = src + s / 4 * 32;
      for (int l = 0; l < 32; ++l) {
        dst[32 * s + l] = d * static_cast<float>((q[l] >> (s % 4 * 2) & 3) - 1);
      }
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const float inverse = inverse_or_zero(store_f16(dst + 64, fit_ternary(src)));
    std::memset(dst, 0, 64);
    for (int i = 0; i < kSuperBlock; ++i) {
      uint8_t* q = dst + i / 128 * 32 + i % 32;
      *q = static_cast<uint8_t>(*q | (nearest_in(src[i] * inverse, -1, 1) + 1)
                                         << (i % 128 / 32 * 2));
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 64>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_tq2_0;  // listed in the generated table
const StorageFormat format_tq2_0{
    .name = "TQ2_0",
    .gguf_type = 35,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
