// The integer matmuls of dotprod with packed weights; compiled with the flags of that instruction
// set (cmake/Library.cmake).
#if defined(__aarch64__)
#include "backends/cpu/vec_neon.h"
//
#include "backends/cpu/bytes_neon.h"
//
#include "backends/cpu/packed_matmul.h"

namespace ferry::cpu {

extern const PackedKernels packed_kernels_dotprod;
constinit const PackedKernels packed_kernels_dotprod{
    neon::PackedTable<neon::PackedFormats>::kFormats,
    neon::PackedTable<neon::PackedFormats>::kCount};

}  // namespace ferry::cpu
#endif
