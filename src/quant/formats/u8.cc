// U8: one unsigned byte; known to safetensors only.
// Carried in files and shown to users, never computed with: no decode, no encode.
#include "quant/storage_format.h"

namespace ferry::quant {

extern const StorageFormat format_u8;  // listed in the generated table
const StorageFormat format_u8{
    .name = "U8",
    .gguf_type = -1,
    .safetensors = "U8",
    .block_elements = 1,
    .block_bytes = 1,
};

}  // namespace ferry::quant
