// I16: one signed 16-bit integer, little endian.
// Carried in files and shown to users, never computed with: no decode, no encode.
#include "quant/storage_format.h"

namespace ferry::quant {

extern const StorageFormat format_i16;  // listed in the generated table
const StorageFormat format_i16{
    .name = "I16",
    .gguf_type = 25,
    .safetensors = "I16",
    .block_elements = 1,
    .block_bytes = 2,
};

}  // namespace ferry::quant
