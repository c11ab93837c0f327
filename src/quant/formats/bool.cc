// BOOL: one byte, 0 or 1; known to safetensors only.
// Carried in files and shown to users, never computed with: no decode, no encode.
#include "quant/storage_format.h"

namespace ferry::quant {

extern const StorageFormat format_bool;  // listed in the generated table
const StorageFormat format_bool{
    .name = "BOOL",
    .gguf_type = -1,
    .safetensors = "BOOL",
    .block_elements = 1,
    .block_bytes = 1,
};

}  // namespace ferry::quant
