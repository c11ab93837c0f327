// The integer matmuls of avx512vnni; compiled with the flags of that instruction set
// (cmake/Library.cmake).
#if defined(__x86_64__)
#include "backends/cpu/vec_avx512.h"
//
#include "backends/cpu/bytes_avx512vnni.h"
//
#include "backends/cpu/int_matmul.h"

namespace ferry::cpu {

extern const IntKernels int_kernels_avx512vnni;  // chosen in level.cc
constinit const IntKernels int_kernels_avx512vnni{
    "avx512vnni", avx512::kIntFormats, sizeof avx512::kIntFormats / sizeof avx512::kIntFormats[0],
    avx512::quantize_row};

}  // namespace ferry::cpu
#endif
