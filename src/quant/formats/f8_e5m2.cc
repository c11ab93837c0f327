// F8_E5M2: sign, 5 exponent bits (bias 15), 2 mantissa bits; safetensors only.
// Carried in files and shown to users, never computed with: no decode, no encode.
#include "quant/storage_format.h"

namespace ferry::quant {

extern const StorageFormat format_f8_e5m2;  // listed in the generated table
const StorageFormat format_f8_e5m2{
    .name = "F8_E5M2",
    .gguf_type = -1,
    .safetensors = "F8_E5M2",
    .block_elements = 1,
    .block_bytes = 1,
};

}  // namespace ferry::quant
