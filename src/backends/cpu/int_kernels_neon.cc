// The integer matmuls of neon, which is part of the baseline of AArch64.
#if defined(__aarch64__)
#include "backends/cpu/vec_neon.h"
//
#include "backends/cpu/bytes_neon.h"
//
#include "backends/cpu/int_matmul.h"
//
#include "backends/cpu/int_quantize.h"

namespace ferry::cpu {

extern const PackedKernels packed_kernels_neon;
extern const IntKernels int_kernels_neon;  // chosen in level.cc
constinit const IntKernels int_kernels_neon{"neon",
                                            neon::IntTable<neon::IntFormats>::kFormats,
                                            neon::IntTable<neon::IntFormats>::kCount,
                                            neon::quantize_row,
                                            nullptr,
                                            &packed_kernels_neon};

}  // namespace ferry::cpu
#endif
