// The integer matmuls of avx2 with packed weights; compiled with the flags of that instruction set
// (cmake/Library.cmake).
#if defined(__x86_64__)
#include "backends/cpu/vec_avx2.h"
//
#include "backends/cpu/bytes_avx2.h"
//
#include "backends/cpu/packed_matmul.h"

namespace ferry::cpu {

extern const PackedKernels packed_kernels_avx2;
constinit const PackedKernels packed_kernels_avx2{avx2::PackedTable<avx2::PackedFormats>::kFormats,
                                                  avx2::PackedTable<avx2::PackedFormats>::kCount};

}  // namespace ferry::cpu
#endif
