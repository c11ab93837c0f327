// Products on tiles in plain C++, for tile_product_test.cc, attention_test.cc and matmul_test.cc:
// everything of the amx level but its instructions. Compiled apart from the tests themselves, whose
// inline functions must run on older processors too.
#if defined(__x86_64__)
#include "backends/cpu/vec_avx512.h"
//
#include "backends/cpu/tiles_plain.h"
//
#include "backends/cpu/tile_split_matmul.h"

namespace ferry::cpu {

extern const Bf16Tiles bf16_tiles_plain;
constinit const Bf16Tiles bf16_tiles_plain{"plain_tiles",
                                           avx512::product_on_tiles,
                                           {avx512::split_row_bytes, avx512::split_row},
                                           avx512::matmul_split,
                                           avx512::tile_products_agree};

}  // namespace ferry::cpu
#endif
