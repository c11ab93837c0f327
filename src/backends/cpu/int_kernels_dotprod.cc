// The integer matmuls of dotprod, the same vectors with dot products of bytes; compiled with the
// flags of that instruction set (cmake/Library.cmake).
#if defined(__aarch64__)
#include "backends/cpu/vec_neon.h"
//
#include "backends/cpu/bytes_neon.h"
//
#include "backends/cpu/int_matmul.h"
//
#include "backends/cpu/int_quantize.h"

namespace ferry::cpu {

extern const PackedKernels packed_kernels_dotprod;
extern const IntKernels int_kernels_dotprod;  // chosen in level.cc
constinit const IntKernels int_kernels_dotprod{"dotprod",
                                               neon::IntTable<neon::IntFormats>::kFormats,
                                               neon::IntTable<neon::IntFormats>::kCount,
                                               neon::quantize_row,
                                               nullptr,
                                               &packed_kernels_dotprod};

}  // namespace ferry::cpu
#endif
