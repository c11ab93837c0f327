// I64: one signed 64-bit integer, little endian.
// Carried in files and shown to users, never computed with: no decode, no encode.
#include "quant/storage_format.h"

namespace ferry::quant {

extern const StorageFormat format_i64;  // listed in the generated table
const StorageFormat format_i64{
    .name = "I64",
    .gguf_type = 27,
    .safetensors = "I64",
    .block_elements = 1,
    .block_bytes = 8,
};

}  // namespace ferry::quant
