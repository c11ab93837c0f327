// Q6_K: super-blocks of 256 numbers, 16 sub-blocks of 16, in 210 bytes.
//     0  ql      128 bytes: 128 numbers in each 64 bytes; of those, bytes 0–31 have the low four
//                bits of numbers 0–31 (low nibbles) and 64–95 (high nibbles), bytes 32–63 those of
//                numbers 32–63 and 96–127
//   128  qh      64 bytes: 128 numbers in each 32 bytes; number 32p + l of those has its high two
//                bits in bits 2p, 2p+1 of byte l
//   192  scales  16 signed bytes
//   208  d       f16
// value = d · scale · (q − 32)
#include "quant/storage_format.h"
#include "quant/super_block.h"

namespace ferry::quant {
namespace {

constexpr int64_t kBytes = 210;

// Where 16 numbers of sub-block s lie.
struct Place {
  int low;         // first byte in ql
  int low_shift;   // 0 or 4
  int high;        // first byte in qh
  int high_shift;  // 0, 2, 4 or 6
};
constexpr Place place_of(int s) {
  const int half = s / 8;
  const int quarter = s % 8 / 2;  // p of the layout
  return {half * 64 + quarter % 2 * 32 + s % 2 * 16, quarter / 2 * 4, half * 32 + s % 2 * 16,
          quarter * 2};
}

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kSuperBlock) {
    const float d = load_f16(src + 208);
    for (int s = 0; s < 16; ++s) {
      const Place at = place_of(s);
      const uint8_t* low = src + at.low;
      const uint8_t* high = src + 128 + at.high;
      const float scale = d * static_cast<float>(static_cast<int8_t>(src[192 + s]));
      for (int l = 0; l < 16; ++l) {
        const int q = (low[l] >> at.low_shift & 15) | (high[l] >> at.high_shift & 3) << 4;
        dst[16 * s + l] = scale * static_cast<float>(q - 32);
      }
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kSuperBlock, dst += kBytes) {
    const auto block = encode_on_grid<LinearGrid<-32, 31>>(src, 16, 0.05f, -128, 127);
    std::memset(dst, 0, 192);
    for (int i = 0; i < kSuperBlock; ++i) {
      const Place at = place_of(i / 16);
      uint8_t& low = dst[at.low + i % 16];
      uint8_t& high = dst[128 + at.high + i % 16];
      low = static_cast<uint8_t>(low | (block.q[i] & 15) << at.low_shift);
      high = static_cast<uint8_t>(high | block.q[i] >> 4 << at.high_shift);
    }
    for (int s = 0; s < 16; ++s) dst[192 + s] = static_cast<uint8_t>(block.scale[s]);
    store_f16(dst + 208, block.d);
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 208>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_q6_k;  // listed in the generated table
const StorageFormat format_q6_k{
    .name = "Q6_K",
    .gguf_type = 14,
    .safetensors = "",
    .block_elements = kSuperBlock,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
