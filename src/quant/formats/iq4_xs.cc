// IQ4_XS: super-blocks of 256 numbers, 8 sub-blocks of 32, in 136 bytes.
//   0  d         f16
//   2  scales_h  u16: bits 2s, 2s+1 are the high two bits of scale s
//   4  scales_l  4 bytes: low nibble of byte s/2 for even s, high nibble for odd s
//   8  qs        128 bytes, 16 per sub-block: low nibbles are its numbers 0–15, high ones 16–31
// value = d · (scale − 32) · grid[q], the grid of 16 values in super_block.h
#include "quant/storage_format.h"
#include "quant/super_block.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 136;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src);
    const uint32_t scales_h = load_u16(src + 2);
    for (int s = 0; s < 8; ++s) {
      const uint8_t* q = src + 8 + s * 16;
      const int code = (src[4 + s / 2] >> (s % 2 * 4) & 15) | (scales_h >> (2 * s) & 3) << 4;
      const float scale = d * static_cast<float>(code - 32);
      for (int l = 0; l < 16; ++l) {
        dst[32 * s + l] = scale * Iq4Grid::kValues[q[l] & 15];
        dst[32 * s + l + 16] = scale * Iq4Grid::kValues[q[l] >> 4];
      }
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const auto block = encode_on_grid<Iq4Grid>(src, 32, 0.25f, -32, 31);
    store_f16(dst, block.d);
    std::memset(dst + 2, 0, 6);
    uint32_t scales_h = 0;
    for (int s = 0; s < 8; ++s) {
      const uint32_t code = block.scale[s] + 32;
      scales_h |= code >> 4 << (2 * s);
      dst[4 + s / 2] = static_cast<uint8_t>(dst[4 + s / 2] | (code & 15) << (s % 2 * 4));
      for (int l = 0; l < 16; ++l) {
        const uint8_t* q = block.q.data() + 32 * s + l;
        dst[8 + 16 * s + l] = static_cast<uint8_t>(q[0] | q[16] << 4);
      }
    }
    store_u16(dst + 2, static_cast<uint16_t>(scales_h));
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_iq4_xs;  // listed in the generated table
const StorageFormat format_iq4_xs{
    .name = "IQ4_XS",
    .gguf_type = 23,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
