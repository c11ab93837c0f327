// The integer matmuls of avx512vnni; compiled with the flags of that instruction set
// (cmake/Library.cmake).
#if defined(__x86_64__)
#include "backends/cpu/vec_avx512.h"
//
#include "backends/cpu/bytes_avx512vnni.h"
//
#include "backends/cpu/int_matmul.h"
//
#include "backends/cpu/int_quantize.h"

namespace ferry::cpu {

extern const PackedKernels packed_kernels_avx512vnni;
extern const IntKernels int_kernels_avx512vnni;  // chosen in level.cc
constinit const IntKernels int_kernels_avx512vnni{"avx512vnni",
                                                  avx512::IntTable<avx512::IntFormats>::kFormats,
                                                  avx512::IntTable<avx512::IntFormats>::kCount,
                                                  avx512::quantize_row,
                                                  nullptr,
                                                  &packed_kernels_avx512vnni};

}  // namespace ferry::cpu
#endif
