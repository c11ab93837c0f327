// IQ4_NL: blocks of 32 numbers in 18 bytes.
//   0  d   f16
//   2  qs  16 bytes: low nibbles are elements 0–15, high nibbles elements 16–31
// value = d · grid[q], the grid of 16 values in super_block.h
#include "quant/storage_format.h"
#include "quant/super_block.h"

namespace ferry::quant {
namespace {

constexpr int64_t kElements = 32;
constexpr int64_t kBytes = 18;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kBytes, dst += kElements) {
    const float d = load_f16(src);
    for (int j = 0; j < 16; ++j) {
      dst[j] = d * Iq4Grid::kValues[src[2 + j] & 15];
      dst[j + 16] = d * Iq4Grid::kValues[src[2 + j] >> 4];
    }
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b, src += kElements, dst += kBytes) {
    const float inverse =
        inverse_or_zero(store_f16(dst, fit_scale<Iq4Grid>(src, kElements, 0.25f)));
    for (int j = 0; j < 16; ++j) {
      const int low = Iq4Grid::index(src[j] * inverse);
      const int high = Iq4Grid::index(src[j + 16] * inverse);
      dst[2 + j] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

int64_t first_bad_block(const uint8_t* src, int64_t num_blocks) {
  return first_bad_f16_scale<kBytes, 0>(src, num_blocks);
}

}  // namespace

extern const StorageFormat format_iq4_nl;  // listed in the generated table
const StorageFormat format_iq4_nl{
    .name = "IQ4_NL",
    .gguf_type = 20,
    .safetensors = "",
    .block_elements = kElements,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
