// The kernels for any processor; formats are decoded by their own functions.
#include "backends/cpu/vec_generic.h"
//
#include "backends/cpu/kernel_table.h"

namespace ferry::cpu {

extern const Kernels kernels_generic;  // chosen in level.cc
constinit const Kernels kernels_generic = generic::make_kernels("generic", nullptr, 0);

}  // namespace ferry::cpu
