// I32: one signed 32-bit integer, little endian.
// Carried in files and shown to users, never computed with: no decode, no encode.
#include "quant/storage_format.h"

namespace ferry::quant {

extern const StorageFormat format_i32;  // listed in the generated table
const StorageFormat format_i32{
    .name = "I32",
    .gguf_type = 26,
    .safetensors = "I32",
    .block_elements = 1,
    .block_bytes = 4,
};

}  // namespace ferry::quant
