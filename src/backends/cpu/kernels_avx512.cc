// The avx512 kernels; compiled with the flags of that instruction set (cmake/Library.cmake).
#if defined(__x86_64__)
#include "backends/cpu/vec_avx512.h"
//
#include "backends/cpu/decode_kernels.h"
#include "backends/cpu/few_tokens.h"
#include "backends/cpu/kernel_table.h"

namespace ferry::cpu {

extern const Kernels kernels_avx512;  // chosen in level.cc
constinit const Kernels kernels_avx512 = avx512::make_kernels(
    "avx512", avx512::kDecoders, avx512::kNumDecoders, avx512::few_or_many_tokens_block);

}  // namespace ferry::cpu
#endif
