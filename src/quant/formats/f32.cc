// F32: one IEEE single, little endian.
#include "quant/block_fields.h"
#include "quant/storage_format.h"

namespace ferry::quant {
namespace {

// copy_n, not memcpy: no blocks may come without an address.
void decode(const uint8_t* src, float* dst, int64_t n) {
  std::copy_n(src, n * 4, reinterpret_cast<uint8_t*>(dst));
}
void encode(const float* src, uint8_t* dst, int64_t n) {
  std::copy_n(reinterpret_cast<const uint8_t*>(src), n * 4, dst);
}

int64_t first_bad_block(const uint8_t* src, int64_t n) {
  return first_block_where<4>(src, n, [](const uint8_t* p) -> uint32_t {
    return (load_u32(p) & 0x7f800000u) == 0x7f800000u;
  });
}

}  // namespace

extern const StorageFormat format_f32;  // listed in the generated table
const StorageFormat format_f32{
    .name = "F32",
    .gguf_type = 0,
    .safetensors = "F32",
    .block_elements = 1,
    .block_bytes = 4,
    .decode = decode,
    .encode = encode,
    .first_bad_block = first_bad_block,
};

}  // namespace ferry::quant
