// The NEON kernels. Formats are decoded by their own functions, which the compiler vectorises: NEON
// is part of the baseline.
#if defined(__aarch64__)
#include "backends/cpu/vec_neon.h"
//
#include "backends/cpu/kernel_table.h"

namespace ferry::cpu {

extern const Kernels kernels_neon;  // chosen in level.cc
constinit const Kernels kernels_neon = neon::make_kernels("neon", nullptr, 0);

}  // namespace ferry::cpu
#endif
