// Products on tiles in plain C++, for tile_product_test.cc and attention_test.cc: everything of the
// amx level but its instructions. Compiled apart from the tests themselves, whose inline functions
// must run on older processors too.
#if defined(__x86_64__)
#include "backends/cpu/vec_avx512.h"
//
#include "backends/cpu/tiles_plain.h"
//
#include "backends/cpu/tile_product.h"

namespace ferry::cpu {

extern const Bf16Tiles bf16_tiles_plain;
constinit const Bf16Tiles bf16_tiles_plain{"plain_tiles", avx512::product_on_tiles,
                                           avx512::tile_products_agree};

}  // namespace ferry::cpu
#endif
