// F64: one IEEE double, little endian.
// Carried in files and shown to users, never computed with: no decode, no encode.
#include "quant/storage_format.h"

namespace ferry::quant {

extern const StorageFormat format_f64;  // listed in the generated table
const StorageFormat format_f64{
    .name = "F64",
    .gguf_type = 28,
    .safetensors = "F64",
    .block_elements = 1,
    .block_bytes = 8,
};

}  // namespace ferry::quant
