// The avx2 kernels; compiled with the flags of that instruction set (cmake/Library.cmake).
#if defined(__x86_64__)
#include "backends/cpu/vec_avx2.h"
//
#include "backends/cpu/decode_kernels.h"
#include "backends/cpu/few_tokens.h"
#include "backends/cpu/kernel_table.h"

namespace ferry::cpu {

extern const Kernels kernels_avx2;  // chosen in level.cc
constinit const Kernels kernels_avx2 =
    avx2::make_kernels("avx2", avx2::kDecoders, avx2::kNumDecoders, avx2::few_or_many_tokens_block);

}  // namespace ferry::cpu
#endif
