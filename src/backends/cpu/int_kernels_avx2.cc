// The integer matmuls of avx2; compiled with the flags of that instruction set
// (cmake/Library.cmake).
#if defined(__x86_64__)
#include "backends/cpu/vec_avx2.h"
//
#include "backends/cpu/bytes_avx2.h"
//
#include "backends/cpu/int_matmul.h"
//
#include "backends/cpu/int_quantize.h"

namespace ferry::cpu {

extern const PackedKernels packed_kernels_avx2;
extern const IntKernels int_kernels_avx2;  // chosen in level.cc
constinit const IntKernels int_kernels_avx2{"avx2",
                                            avx2::IntTable<avx2::IntFormats>::kFormats,
                                            avx2::IntTable<avx2::IntFormats>::kCount,
                                            avx2::quantize_row,
                                            nullptr,
                                            &packed_kernels_avx2};

}  // namespace ferry::cpu
#endif
