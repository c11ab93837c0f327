// Matmuls on tiles in plain C++, for int_matmul_test.cc: everything of the amx level but its
// instructions. Compiled with the flags of avx512vnni, and apart from the tests themselves, whose
// inline functions must run on older processors too.
#if defined(__x86_64__)
#include "backends/cpu/vec_avx512.h"
//
#include "backends/cpu/bytes_avx512vnni.h"
//
#include "backends/cpu/int_quantize.h"
//
#include "backends/cpu/tiles_plain.h"
//
#include "backends/cpu/tile_matmul.h"
//
#include "backends/cpu/packed_rows.h"

namespace ferry::cpu {

namespace avx512 {
namespace {

template <typename List>
struct TileTable;
template <typename... Formats>
struct TileTable<FormatList<Formats...>> {
  static constexpr IntFormat kFormats[] = {{Formats::kName, tile_matmul_block<Formats, InFile>}...};
  static constexpr int kCount = sizeof...(Formats);
};
template <typename... Formats>
struct TileTable<PackedList<Formats...>> {
  static constexpr PackedFormat kFormats[] = {
      {Formats::kName, tile_matmul_block<Formats, InStrips>, pack_strip<Formats>}...};
  static constexpr PackedKernels kKernels{kFormats, sizeof...(Formats)};
};

}  // namespace
}  // namespace avx512

extern const IntKernels int_kernels_plain_tiles;
constinit const IntKernels int_kernels_plain_tiles{
    "plain_tiles",
    avx512::TileTable<avx512::IntFormats>::kFormats,
    avx512::TileTable<avx512::IntFormats>::kCount,
    avx512::quantize_row,
    nullptr,
    &avx512::TileTable<avx512::PackedFormats>::kKernels};

}  // namespace ferry::cpu
#endif
