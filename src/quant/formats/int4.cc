// INT4: blocks of 32 numbers in 16 bytes, as compressed-tensors packs symmetric four-bit codes: an
// I32 holds eight of them, the first in the lowest bits, so that byte j holds element 2j in its low
// nibble and 2j+1 in its high one.
//   value = q − 8
// The scales are a tensor of their own. Files declare such a tensor as I32; disk/packed_int4.h
// says which ones are meant. Every block is good.
#include "quant/block_fields.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

constexpr int64_t kElements = 32;
constexpr int64_t kBytes = 16;

void decode(const uint8_t* __restrict src, float* __restrict dst, int64_t num_blocks) {
  for (int64_t i = 0; i < num_blocks * kBytes; ++i) {
    dst[2 * i] = static_cast<float>((src[i] & 15) - 8);
    dst[2 * i + 1] = static_cast<float>((src[i] >> 4) - 8);
  }
}

void encode(const float* __restrict src, uint8_t* __restrict dst, int64_t num_blocks) {
  for (int64_t i = 0; i < num_blocks * kBytes; ++i) {
    const int32_t low = nearest_in(src[2 * i], -8, 7) + 8;
    const int32_t high = nearest_in(src[2 * i + 1], -8, 7) + 8;
    dst[i] = static_cast<uint8_t>(low | high << 4);
  }
}

}  // namespace

extern const StorageFormat format_int4;  // listed in the generated table
const StorageFormat format_int4{
    .name = "INT4",
    .gguf_type = -1,
    .safetensors = "",
    .block_elements = kElements,
    .block_bytes = kBytes,
    .decode = decode,
    .encode = encode,
};

}  // namespace ferry::quant
