// I8: one signed byte.
// Carried in files and shown to users, never computed with: no decode, no encode.
#include "quant/storage_format.h"

namespace ferry::quant {

extern const StorageFormat format_i8;  // listed in the generated table
const StorageFormat format_i8{
    .name = "I8",
    .gguf_type = 24,
    .safetensors = "I8",
    .block_elements = 1,
    .block_bytes = 1,
};

}  // namespace ferry::quant
