// The integer matmuls of avx512vnni with packed weights; compiled with the flags of that
// instruction set (cmake/Library.cmake).
#if defined(__x86_64__)
#include "backends/cpu/vec_avx512.h"
//
#include "backends/cpu/bytes_avx512vnni.h"
//
#include "backends/cpu/packed_matmul.h"

namespace ferry::cpu {

extern const PackedKernels packed_kernels_avx512vnni;
constinit const PackedKernels packed_kernels_avx512vnni{
    avx512::PackedTable<avx512::PackedFormats>::kFormats,
    avx512::PackedTable<avx512::PackedFormats>::kCount};

}  // namespace ferry::cpu
#endif
