// The products of bf16 on the tiles of AMX. Compiled with the flags of avx512vnni
// (cmake/InstructionSets.cmake), the tile instructions are assembly.
#if defined(__x86_64__)
#include "backends/cpu/vec_avx512.h"
//
#include "backends/cpu/tiles_amx.h"
//
#include "backends/cpu/tile_split_matmul.h"

namespace ferry::cpu {

extern const Bf16Tiles bf16_tiles_amx;  // chosen in level.cc
constinit const Bf16Tiles bf16_tiles_amx{"amx",
                                         avx512::product_on_tiles,
                                         {avx512::split_row_bytes, avx512::split_row},
                                         avx512::matmul_split,
                                         avx512::tile_products_agree};

}  // namespace ferry::cpu
#endif
